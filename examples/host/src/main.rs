//! Loads a model and runs it: `cargo run -p secateur-example-host --bin secateur-example-host -- MODEL.sct`

use std::path::Path;

use secateur_runtime::prepared::{Options, Prepared};
use secateur_runtime::{ArenaBuf, Limits, ModelFile, Session};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: secateur-example-host MODEL.sct")?;
    let file = ModelFile::read(Path::new(&path))?;
    let model = file.model(&Limits::HOST)?;
    let mut arena = ArenaBuf::for_model(&model);
    // Weights repacked for this machine; `Session::new` runs them as they lie in the file.
    let prepared = Prepared::new(&model, &Options::default())?;
    let mut session = Session::with_prepared(&model, arena.as_mut(), prepared)?;
    session.input_mut(0)?.fill(0.5);
    session.run()?;
    println!("{:?}", session.output(0)?);
    Ok(())
}
