//! The settings of a process: every limit, interval and place, by flag, environment and file, with its default.
//!
//! A setting is one line of the table below; its flag (`--epoch-interval`), its variable
//! (`MILLSTREAM_EPOCH_INTERVAL`), its key in the file (`epoch_interval`) and its text in `--help` all follow from it.

mod memory;
mod session;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use session::{SERVER_VERSION, SessionSetting, SessionSettings};
pub use value::{ByteSize, SettingValue, parse_duration, show_duration};

use super::{Error, Result, nearest::did_you_mean, sqlstate};

/// What is known of a setting apart from its value.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name: `epoch_interval`.
    pub name: &'static str,
    /// How its value is written: `duration`, `bytes`, `number`, `text`, `path`, `on or off`.
    pub unit: &'static str,
    /// Its default, as one would write it.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

impl Setting {
    /// Its command-line flag without dashes: `epoch-interval`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Its environment variable: `MILLSTREAM_EPOCH_INTERVAL`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_uppercase())
    }
}

/// What the name of every environment variable of ours begins with.
pub const VARIABLE_PREFIX: &str = "MILLSTREAM_";

/// Variables with our prefix that are no settings: of the scripts, the tests and the crash test.
const OTHER_VARIABLES: [&str; 12] =
    ["CONFIG", "CACHE", "FLIGHTS", "PHASE_FILE", "SEED", "FULL", "BLESS", "CASES", "QUERIES", "CYCLES", "SLT", "KEEP"];

/// Memory for state where nobody tells how much there is.
const UNTOLD_STATE_BYTES: u64 = 4 << 30;

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $ty:ty = $default:literal;)*) => {
        /// Every setting of a process with its value. Made by [`Settings::load`]; [`Default`] holds the defaults.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: $ty,)*
        }

        /// The table of settings, in the order of the manual.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            name: stringify!($name),
            unit: <$ty as SettingValue>::UNIT,
            default: $default,
            doc: concat!($($doc),+),
        }),*];

        impl Default for Settings {
            fn default() -> Self {
                Settings {
                    $($name: <$ty as SettingValue>::parse($default).expect("a test parses every default"),)*
                }
            }
        }

        impl Settings {
            /// Sets `name` to the value written as `text`.
            pub fn set(&mut self, name: &str, text: &str) -> Result<()> {
                match name {
                    $(stringify!($name) => {
                        self.$name = <$ty as SettingValue>::parse(text).map_err(|e| refused(name, text, &e))?;
                    })*
                    _ => return Err(unknown(name)),
                }
                Ok(())
            }

            /// The value of `name` as one would write it.
            pub fn get(&self, name: &str) -> Option<String> {
                match name {
                    $(stringify!($name) => Some(SettingValue::show(&self.$name)),)*
                    _ => None,
                }
            }
        }
    };
}

settings! {
    /// A file that sets the clock of now() and PROCTIME(), in UTC, for tests; without it the system's clock counts.
    clock_file: String = "";
    /// Folder that holds everything durable; made when it is missing.
    data_dir: PathBuf = "./millstream-data";
    /// Address and port for PostgreSQL clients; port 0 takes a free one (see millstream.addr in the data folder).
    listen: String = "127.0.0.1:7432";
    /// Worker threads that run the dataflows; 0 is one per core.
    workers: usize = "0";
    /// What is logged on stderr: error, warn, info, debug, or a filter like warn,millstream::engine=debug.
    log: String = "warn";
    /// An epoch is cut after this long when something happened.
    epoch_interval: Duration = "100ms";
    /// Epochs are never cut closer to each other than this, so that statements share cuts.
    epoch_min: Duration = "5ms";
    /// A worker that has read this many rows of the open epoch asks for a cut.
    epoch_rows: usize = "1000000";
    /// A checkpoint is begun this long after the one before, when something changed.
    checkpoint_interval: Duration = "10s";
    /// A job that holds a shared reader back for longer is detached and reads on alone.
    share_patience: Duration = "1s";
    /// A read that waits longer for a relation fails and names the one that lags; the session setting's default.
    read_timeout: Duration = "30s";
    /// A statement that runs longer is cancelled; 0 is never; the session setting's default.
    statement_timeout: Duration = "0";
    /// Rows of a batch between connectors, formats and operators.
    batch_rows: usize = "8192";
    /// For tests: every entry of state counts as absent from memory until an operator has asked for it.
    strict_state: bool = "off";
    /// Bytes of deltas that may wait before one input of a job.
    queue_bytes_max: ByteSize = "32MB";
    /// Bytes of one record of a source; a longer one becomes a fault.
    record_bytes_max: ByteSize = "16MB";
    /// Threads that decode records; 0 is one per core.
    decode_threads: usize = "0";
    /// Faulty and late rows that are kept for each relation; the counts stay exact beyond.
    faults_keep: usize = "100000";
    /// Bytes of faulty and late rows that are kept for each relation.
    faults_keep_bytes: ByteSize = "256MB";
    /// Memory for the state of all operators together; 0 is half of what the machine or the control group has.
    state_memory_limit: ByteSize = "0";
    /// Memory for all queries (SELECT) together.
    query_memory_limit: ByteSize = "1GB";
    /// Past epochs of a view that readers may still be looking at, in bytes of changes.
    view_history_bytes: ByteSize = "256MB";
    /// Bytes of changes of a view or table that wait in memory for one slower job on one worker; more wait on disk.
    follow_bytes_max: ByteSize = "256MB";
    /// Bytes of such changes that may wait on disk before the slower job fails.
    follow_disk_bytes_max: ByteSize = "64GB";
    /// Bytes of batches that a sink may still have to deliver before its job waits.
    outbox_bytes_max: ByteSize = "256MB";
    /// Clients that may be connected at once.
    connections_max: usize = "200";
    /// Bytes of one statement or message of a client.
    statement_bytes_max: ByteSize = "16MB";
    /// Prepared statements and portals that one connection may hold.
    prepared_max: usize = "1000";
    /// A client that has not said who it is after this long is disconnected.
    startup_timeout: Duration = "30s";
    /// PEM file with the server's certificate and those above it; read again on SIGHUP.
    tls_cert: String = "";
    /// PEM file with the certificate's private key; read again on SIGHUP.
    tls_key: String = "";
    /// File with the password of role millstream, which is set at every start; the way to a first password.
    password_file: String = "";
    /// Sources and sinks use files below this folder only; without it superusers alone name files of the server.
    files_from: String = "";
    /// A login that failed is answered after this long, and after twice as long with every further one of its address.
    login_delay: Duration = "500ms";
    /// A waiting statement tells its client this often that it is alive, and so notices a client that is gone.
    heartbeat_interval: Duration = "5s";
    /// Stopping waits this long for statements, the last checkpoint and sinks.
    shutdown_timeout: Duration = "10s";
}

fn refused(name: &str, text: &str, expected: &str) -> Error {
    Error::invalid(format!("value of setting \"{name}\" does not parse: \"{text}\""))
        .with_detail(format!("Expected {expected}."))
}

fn unknown(name: &str) -> Error {
    let error = Error::invalid(format!("setting \"{name}\" does not exist")).with_code(sqlstate::UNDEFINED_OBJECT);
    let hint = did_you_mean(name, SETTINGS.iter().map(|setting| setting.name))
        .unwrap_or_else(|| "millstream --help lists all settings.".to_string());
    error.with_hint(hint)
}

impl Settings {
    /// The settings of a process: defaults, then the file at `config`, then the variables in `environment` (those
    /// that begin with [`VARIABLE_PREFIX`]), then `flags` (name, text). The later one wins. Also gives a line for each
    /// variable that looks like a setting of ours and is none.
    pub fn load(
        config: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<(Settings, Vec<String>)> {
        let mut settings = Settings::default();
        if let Some(path) = config {
            settings.read_file(path)?;
        }
        let mut warnings = Vec::new();
        for (variable, text) in environment {
            let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
            let known = SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name));
            match known {
                Some(setting) => settings
                    .set(setting.name, &text)
                    .map_err(|error| error.context(format!("in environment variable {variable}")))?,
                None if OTHER_VARIABLES.contains(&name) => {}
                None => {
                    let hint = did_you_mean(name, SETTINGS.iter().map(|setting| setting.name)).unwrap_or_default();
                    warnings.push(format!("environment variable {variable} names no setting. {hint}"));
                }
            }
        }
        for (name, text) in flags {
            settings.set(name, text).map_err(|error| error.context(format!("in flag --{}", name.replace('_', "-"))))?;
        }
        settings.check()?;
        Ok((settings, warnings))
    }

    fn read_file(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::invalid(format!("settings file \"{}\" does not open: {error}", path.display())).caused_by(error)
        })?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            Error::invalid(format!("settings file \"{}\" is no TOML", path.display()))
                .with_detail(error.to_string().trim().to_string())
        })?;
        for (name, value) in table {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => value.to_string(),
                toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
                    return Err(Error::invalid(format!("setting \"{name}\" in a settings file is no plain value"))
                        .with_detail("Expected a string, a number or a Boolean.")
                        .context(format!("in settings file \"{}\"", path.display())));
                }
            };
            self.set(&name, &text)
                .map_err(|error| error.context(format!("in settings file \"{}\"", path.display())))?;
        }
        Ok(())
    }

    /// Refuses values that no part of the engine could live with.
    fn check(&self) -> Result<()> {
        let too_small = |name: &str, least: &str| {
            let found = self.get(name).unwrap_or_default();
            Err(Error::invalid(format!("value of setting \"{name}\" is too small: {found}"))
                .with_detail(format!("The least is {least}.")))
        };
        if self.epoch_min.is_zero() {
            return too_small("epoch_min", "1us");
        }
        if self.epoch_interval < self.epoch_min {
            return too_small("epoch_interval", "the value of epoch_min");
        }
        if self.batch_rows == 0 {
            return too_small("batch_rows", "1");
        }
        if self.connections_max == 0 {
            return too_small("connections_max", "1");
        }
        if self.statement_bytes_max.0 < 1024 {
            return too_small("statement_bytes_max", "1kB");
        }
        if self.heartbeat_interval.is_zero() {
            return too_small("heartbeat_interval", "1us");
        }
        Ok(())
    }

    /// How many worker threads `workers` stands for.
    pub fn worker_count(&self) -> usize {
        threads(self.workers).min(256)
    }

    /// How many bytes `state_memory_limit` stands for.
    pub fn state_memory_bytes(&self) -> u64 {
        match self.state_memory_limit.0 {
            0 => memory::available().map_or(UNTOLD_STATE_BYTES, |bytes| bytes / 2),
            bytes => bytes,
        }
    }

    /// How many threads `decode_threads` stands for.
    pub fn decode_thread_count(&self) -> usize {
        threads(self.decode_threads)
    }
}

fn threads(setting: usize) -> usize {
    match setting {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, text: &str) -> (String, String) {
        (name.to_string(), text.to_string())
    }

    #[test]
    fn every_default_is_written_as_it_is_shown() {
        let settings = Settings::default();
        for setting in SETTINGS {
            assert_eq!(settings.get(setting.name).as_deref(), Some(setting.default), "{}", setting.name);
            assert!(setting.doc.trim().ends_with('.'), "{}", setting.name);
        }
        settings.check().unwrap();
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("millstream.toml");
        std::fs::write(&path, "workers = 1\nbatch_rows = 512\nlisten = \"127.0.0.1:1\"\n").unwrap();
        let environment =
            vec![pair("MILLSTREAM_WORKERS", "2"), pair("MILLSTREAM_LISTEN", "127.0.0.1:2"), pair("PATH", "")];
        let flags = [pair("listen", "127.0.0.1:3")];
        let (settings, warnings) = Settings::load(Some(&path), environment, &flags).unwrap();
        assert_eq!((settings.batch_rows, settings.workers, settings.listen.as_str()), (512, 2, "127.0.0.1:3"));
        assert!(warnings.is_empty());
    }

    #[test]
    fn what_is_unknown_offers_the_nearest() {
        let error = Settings::load(None, [], &[pair("lisen", "x")]).unwrap_err();
        assert_eq!(
            error.report(),
            "setting \"lisen\" does not exist\nHINT: Did you mean \"listen\"?\nCONTEXT: in flag --lisen"
        );
        let (_, warnings) = Settings::load(None, [pair("MILLSTREAM_WORKRES", "2")], &[]).unwrap();
        assert_eq!(warnings, ["environment variable MILLSTREAM_WORKRES names no setting. Did you mean \"workers\"?"]);
        let error = Settings::load(None, [pair("MILLSTREAM_EPOCH_MIN", "5 parsecs")], &[]).unwrap_err();
        assert_eq!(error.detail(), Some("Expected a duration like 100ms, 5s, 10min or 1h."));
        let error = Settings::load(None, [], &[pair("epoch_interval", "1ms")]).unwrap_err();
        assert_eq!(error.detail(), Some("The least is the value of epoch_min."));
    }
}
