//! Writes `memory.x` for `BOARD` and puts the model file `MODEL` where `main.rs` includes it.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-env-changed=BOARD");
    println!("cargo::rerun-if-env-changed=MODEL");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));

    let board = env::var("BOARD").unwrap_or_else(|_| "microbit".into());
    let (target, memory) = match board.as_str() {
        "microbit" => (
            "thumbv6m-none-eabi",
            "MEMORY {\n  FLASH : ORIGIN = 0x00000000, LENGTH = 256K\n  RAM : ORIGIN = 0x20000000, LENGTH = 16K\n}\n",
        ),
        "an386" => (
            "thumbv7em-none-eabihf",
            "MEMORY {\n  FLASH : ORIGIN = 0x00000000, LENGTH = 4M\n  RAM : ORIGIN = 0x20000000, LENGTH = 4M\n}\n",
        ),
        other => panic!("BOARD={other}: expected microbit or an386"),
    };
    let built_for = env::var("TARGET").expect("cargo sets TARGET");
    assert_eq!(built_for, target, "BOARD={board} needs --target {target}");
    fs::write(out.join("memory.x"), memory).expect("memory.x is written");
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=-Tlink.x");

    let model = env::var("MODEL").unwrap_or_else(|_| "model.sct".into());
    println!("cargo::rerun-if-changed={model}");
    if let Err(error) = fs::copy(&model, out.join("model.sct")) {
        panic!("MODEL={model}: {error}");
    }
}
