//! The command line.
use super::log::Level;
use crate::memory;
use std::path::PathBuf;
use std::time::Duration;

/// What the process was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The bootstrap: `config.bootstrap.v3.Bootstrap` as bytes.
    pub config: PathBuf,
    /// Data threads.
    pub concurrency: usize,
    /// Where accepted resources are kept.
    pub snapshot: Option<PathBuf>,
    /// Where a process takes over from the one before it, and is taken over from.
    pub hand_over: Option<PathBuf>,
    /// What is said of ourselves.
    pub log_level: Level,
    /// How long connections may go on when their listener, or the process, goes.
    pub drain: Duration,
    /// The bound of resident memory, in MiB.
    pub memory_limit_mb: usize,
}

/// What `--help` says.
pub const HELP: &str = "\
ripstop-proxy: the native data plane of the Ripstop service mesh

usage: ripstop-proxy --config FILE [options]

  --config FILE          the bootstrap, a serialised envoy.config.bootstrap.v3.Bootstrap
  --concurrency N        data threads (default: 1)
  --snapshot FILE        keep accepted resources there, and start with them while the control plane is away
  --hand-over PATH       take over the sockets of the process that listens at this unix socket, if there is one, then
                         listen there for a successor; the directory must be ours alone
  --log-level LEVEL      error, warning, info or debug (default: warning)
  --drain-time-s N       how long connections may go on at the end (default: 5)
  --memory-limit-mb N    resident memory is kept below this: from 85 % of it new requests are answered 503 (flag OM), from
                         95 % new connections are closed at once, idle ones too, then those that hold most
                         (at least 32; default: 1024, or three quarters of the container's limit when that is less)
  --version              say the version
  --help                 say this

Ends with 0 after SIGTERM or SIGINT, 1 when it cannot start, 2 when the command line is wrong.
";

/// What to do.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Command {
    Run(Options),
    Help,
    Version,
}

/// Read the command line, without the program's name.
///
/// # Errors
/// What is wrong with it, for people.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let mut options = Options {
        config: PathBuf::new(),
        concurrency: 1,
        snapshot: None,
        hand_over: None,
        log_level: Level::Warning,
        drain: Duration::from_secs(5),
        memory_limit_mb: 0,
    };
    while let Some(argument) = arguments.next() {
        let (name, given) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        match &*name {
            "--help" | "-h" => return Ok(Command::Help),
            "--version" => return Ok(Command::Version),
            _ => {}
        }
        let mut value = || given.clone().or_else(|| arguments.next()).ok_or(format!("{name} needs a value"));
        match &*name {
            "--config" | "-c" => options.config = value()?.into(),
            "--concurrency" => options.concurrency = number(&name, &value()?, 1, 1024)?,
            "--snapshot" => options.snapshot = Some(value()?.into()),
            "--hand-over" => options.hand_over = Some(value()?.into()),
            "--log-level" | "-l" => {
                let level = value()?;
                options.log_level = Level::of(&level)
                    .ok_or(format!("--log-level: {level} is none of error, warning, info, debug"))?;
            }
            "--drain-time-s" => {
                options.drain = Duration::from_secs(number(&name, &value()?, 0, 86_400)? as u64)
            }
            "--memory-limit-mb" => {
                options.memory_limit_mb = number(&name, &value()?, memory::LEAST_MB, 1024 * 1024)?;
            }
            _ => return Err(format!("{name} is no option; see --help")),
        }
    }
    if options.config.as_os_str().is_empty() {
        return Err("--config FILE is missing; see --help".to_owned());
    }
    if options.memory_limit_mb == 0 {
        options.memory_limit_mb = memory::default_limit_mb();
    }
    Ok(Command::Run(options))
}

fn number(name: &str, text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{name}: {text} is no number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_option_may_be_given_in_both_forms() {
        let Ok(Command::Run(options)) =
            read("--config=a.pb --concurrency 4 --drain-time-s=0 --log-level info --memory-limit-mb 64")
        else {
            panic!("a good command line")
        };
        assert_eq!((options.config, options.concurrency), ("a.pb".into(), 4));
        assert_eq!((options.drain, options.log_level), (Duration::ZERO, Level::Info));
        assert_eq!(options.memory_limit_mb, 64);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, said) in [
            ("", "--config FILE is missing"),
            ("--config", "--config needs a value"),
            ("--config a --concurrency 0", "--concurrency: 0 is no number from 1"),
            ("--config a --lgo-level info", "--lgo-level is no option"),
            ("--config a --hand-over", "--hand-over needs a value"),
            ("--config a --memory-limit-mb 1", "--memory-limit-mb: 1 is no number from 32"),
            ("--config a --log-level loud", "loud is none of"),
        ] {
            let fault = read(line).expect_err("a bad command line");
            assert!(fault.contains(said), "{line}: {fault}");
        }
    }

    #[test]
    fn help_wins() {
        assert_eq!(read("--config a --help"), Ok(Command::Help));
    }
}
