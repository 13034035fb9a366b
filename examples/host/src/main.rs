//! Loads a model and runs it: `cargo run -p secateur-example-host --bin secateur-example-host -- MODEL.sct`

use std::path::Path;

use secateur_runtime::{ArenaBuf, Limits, ModelFile, Session};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: secateur-example-host MODEL.sct")?;
    let file = ModelFile::read(Path::new(&path))?;
    let model = file.model(&Limits::HOST)?;
    let mut arena = ArenaBuf::for_model(&model);
    let mut session = Session::new(&model, arena.as_mut())?;
    session.input_mut(0)?.fill(0.5);
    session.run()?;
    println!("{:?}", session.output(0)?);
    Ok(())
}
