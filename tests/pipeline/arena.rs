//! The arena: what the plan says is enough, and one byte less is not.

use secateur::emit::EmitOptions;
use secateur_format::Limits;
use secateur_format::plan::planner::{PlanOptions, Scratch};
use secateur_runtime::{ArenaBuf, Model, RunError, Session};

use crate::support::{MODELS, emitted, golden, graph};

#[test]
fn the_planned_bytes_suffice_and_one_less_does_not() {
    for model in MODELS {
        let graph = graph(model);
        for scratch in [Scratch::Packed, Scratch::None] {
            let options = EmitOptions {
                plan: PlanOptions {
                    scratch,
                    ..PlanOptions::default()
                },
                ..EmitOptions::default()
            };
            let emitted = emitted(&graph, &options);
            assert!(emitted.arena_lower_bound <= emitted.arena_bytes, "{model}");
            let file = ArenaBuf::copy_of(&emitted.bytes);
            let read = Model::read(file.as_ref(), &Limits::HOST).unwrap();
            let needed = read.plan().arena_bytes();
            assert_eq!(needed, emitted.arena_bytes, "{model}");

            let mut exact = ArenaBuf::new(needed as usize);
            let mut session = Session::new(&read, exact.as_mut()).unwrap();
            session.input_mut(0).unwrap().copy_from_slice(&golden(model)[0].0);
            session.run().unwrap();
            assert!(session.output(0).unwrap().iter().all(|y| y.is_finite()));

            let mut small = ArenaBuf::new(needed as usize - 1);
            let refused = Session::new(&read, small.as_mut()).unwrap_err();
            assert_eq!(refused, RunError::ArenaTooSmall { needed, missing: 1 }, "{model}");
            println!(
                "{model} {scratch:?}: {needed} bytes, lower bound {}",
                emitted.arena_lower_bound
            );
        }
    }
}

/// Memory that a run does not own is not touched, and what was in the arena before does not matter.
#[test]
fn a_larger_and_dirty_arena_changes_nothing() {
    for model in MODELS {
        let emitted = emitted(&graph(model), &EmitOptions::default());
        let file = ArenaBuf::copy_of(&emitted.bytes);
        let read = Model::read(file.as_ref(), &Limits::HOST).unwrap();
        let input = &golden(model)[0].0;
        let needed = emitted.arena_bytes as usize;
        let outputs = [0u8, 0xff].map(|fill| {
            let mut arena = ArenaBuf::new(needed + 64);
            arena.as_mut().fill(fill);
            let mut session = Session::new(&read, arena.as_mut()).unwrap();
            session.input_mut(0).unwrap().copy_from_slice(input);
            session.run().unwrap();
            let output = session.output(0).unwrap().to_vec();
            assert!(arena.as_ref()[needed..].iter().all(|&byte| byte == fill), "{model}");
            output
        });
        assert_eq!(outputs[0], outputs[1], "{model}");
    }
}
