//! Prints what the firmware must print for a model and a picture of bytes, bit for bit:
//! `firmware_reference MODEL.sct PICTURE.bin`

use std::path::Path;

use secateur_runtime::kernel::SCALAR;
use secateur_runtime::{ArenaBuf, Limits, ModelFile, Session};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, picture] = arguments.as_slice() else {
        return Err("usage: firmware_reference MODEL.sct PICTURE.bin".into());
    };
    let file = ModelFile::read(Path::new(model))?;
    let model = file.model(&Limits::EMBEDDED)?;
    let mut arena = ArenaBuf::for_model(&model);
    let mut session = Session::with_kernels(&model, arena.as_mut(), SCALAR)?;
    let pixels = std::fs::read(picture)?;
    let input = session.input_mut(0)?.iter_mut();
    input.zip(&pixels).for_each(|(x, &pixel)| *x = f32::from(pixel) / 16.0);
    session.run()?;
    for logit in session.output(0)? {
        println!("output {:08x}", logit.to_bits());
    }
    Ok(())
}
