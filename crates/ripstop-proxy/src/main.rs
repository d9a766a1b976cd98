//! `ripstop-proxy --config FILE`: the native data plane.
use ripstop_proxy::control::options::{Command, HELP, parse};
use ripstop_proxy::control::run;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!("ripstop-proxy {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("ripstop-proxy: {why}");
            return ExitCode::from(2);
        }
    };
    let read =
        std::fs::read(&options.config).map_err(|error| format!("{}: {error}", options.config.display()));
    match read.and_then(|bootstrap| run(bootstrap, options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ripstop-proxy: {why}");
            ExitCode::FAILURE
        }
    }
}
