//! The terminal program: the same engine for people, scripts and machines with a real GPU.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    match pollster::block_on(cli::run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error ({}): {error}", error.kind().as_str());
            ExitCode::FAILURE
        }
    }
}
