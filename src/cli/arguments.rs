//! The arguments of the command line: three words, a file, and a flag for every setting.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command as Clap, builder::ValueParser};

use crate::base::settings::SETTINGS;

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Serve PostgreSQL clients.
    Serve,
    /// Run a script without a server.
    Run(PathBuf),
    /// Plan a script, touching nothing.
    Check(PathBuf),
}

/// The arguments, understood.
#[derive(Debug, PartialEq)]
pub struct Parsed {
    /// What to do.
    pub command: Command,
    /// The settings file.
    pub config: Option<PathBuf>,
    /// Settings given as flags: name, text.
    pub flags: Vec<(String, String)>,
}

const ABOUT: &str = "Streaming SQL: queries over event time whose answers are kept up to date, exactly once.";

const TEACH: &str = "\
First steps:
  millstream                                        serve on 127.0.0.1:7432, data in ./millstream-data
  psql -h 127.0.0.1 -p 7432 -d millstream           connect (any user name)
  => CREATE TABLE t (id BIGINT PRIMARY KEY, v INT);
  => CREATE MATERIALIZED VIEW sums AS SELECT v % 10 AS k, count(*), sum(v) FROM t GROUP BY 1;
  => INSERT INTO t VALUES (1, 15), (2, 25);
  => SELECT * FROM sums;
  => COPY (SUBSCRIBE TO sums) TO STDOUT;            changes, pushed as they happen

Without a server:
  millstream run FILE.sql                           statements in order; ends with its bounded sources
  millstream check FILE.sql                         plans and explains, touches nothing

Settings are flags (--epoch-interval 50ms), variables (MILLSTREAM_EPOCH_INTERVAL=50ms) or lines of a TOML file
(--config FILE, epoch_interval = \"50ms\"); flags win over variables, variables over the file. Durations are written
100ms, 5s, 10min; bytes 64kB, 256MB. Inside a session SHOW ALL lists what can be SET.";

fn file() -> Arg {
    Arg::new("file").value_name("FILE.sql").required(true).value_parser(ValueParser::path_buf())
}

/// `text` for as long as the process lives: the command line is built once, and clap borrows its names.
fn kept(text: String) -> &'static str {
    text.leak()
}

/// The whole command line, for clap.
pub fn command() -> Clap {
    let mut command = Clap::new("millstream")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_long_help(TEACH)
        .after_help("`millstream --help` shows first steps and every setting.")
        .subcommand(Clap::new("serve").about("Serves PostgreSQL clients (also without a word)"))
        .subcommand(
            Clap::new("run")
                .about("Runs a script without a server and ends with its bounded sources")
                .long_about(
                    "Runs the statements of a script in order and prints what they give. A SELECT waits for the \
                     bounded sources below what it reads; the end waits for every view and sink. Without --data-dir \
                     everything is kept in a temporary folder. The exit code is not 0 if a statement or job failed.",
                )
                .arg(file()),
        )
        .subcommand(Clap::new("check").about("Plans a script and prints EXPLAIN, touching nothing").arg(file()))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .env("MILLSTREAM_CONFIG")
                .global(true)
                .value_parser(ValueParser::path_buf())
                .help("Settings file (TOML)"),
        );
    for setting in SETTINGS {
        let doc = setting.doc.trim();
        let help = format!("{doc} [default: {}]", setting.default);
        let shown_early = matches!(setting.name, "data_dir" | "listen" | "workers" | "log");
        command = command.arg(
            Arg::new(setting.name)
                .long(kept(setting.flag()))
                .value_name(kept(setting.unit.to_uppercase()))
                .global(true)
                .action(ArgAction::Set)
                .hide_short_help(!shown_early)
                .help_heading("Settings")
                .help(help),
        );
    }
    command
}

fn flags(matches: &ArgMatches) -> Vec<(String, String)> {
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    SETTINGS.iter().filter_map(|setting| Some((setting.name.to_string(), given(setting.name)?))).collect()
}

/// Understands `arguments`, the program's name first. The error prints itself, also for `--help` and `--version`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let path = |matches: &ArgMatches| matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let (command, inner) = match matches.subcommand() {
        Some(("run", inner)) => (Command::Run(path(inner)), inner),
        Some(("check", inner)) => (Command::Check(path(inner)), inner),
        Some((_, inner)) => (Command::Serve, inner),
        None => (Command::Serve, &matches),
    };
    Ok(Parsed { command, config: inner.get_one::<PathBuf>("config").cloned(), flags: flags(inner) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(line: &str) -> String {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(parsed) => format!("{:?} {:?}", parsed.command, parsed.flags),
            Err(error) => error.kind().to_string(),
        }
    }

    #[test]
    fn words_and_flags() {
        command().debug_assert();
        assert_eq!(understood("millstream"), "Serve []");
        assert_eq!(
            understood("millstream --workers 2 serve --listen localhost:0"),
            "Serve [(\"listen\", \"localhost:0\"), (\"workers\", \"2\")]"
        );
        assert_eq!(understood("millstream run a.sql --epoch-min=1ms"), "Run(\"a.sql\") [(\"epoch_min\", \"1ms\")]");
        assert_eq!(understood("millstream check a.sql"), "Check(\"a.sql\") []");
        assert_eq!(understood("millstream run"), "one or more required arguments were not provided");
        assert_eq!(understood("millstream --wrokers 2"), "unexpected argument found");
    }

    #[test]
    fn help_teaches_every_setting() {
        let help = command().render_long_help().to_string();
        for setting in SETTINGS {
            assert!(help.contains(&format!("--{}", setting.flag())), "{}", setting.name);
        }
        assert!(help.contains("psql -h 127.0.0.1"));
    }
}
