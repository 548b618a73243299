//! The `millstream` binary: hands over to [`millstream::cli`].

use std::process::ExitCode;
use std::sync::Arc;

use millstream::base::clock::{Clock, FileClock, SystemClock};
use millstream::base::{Result, Settings};
use millstream::cli::{self, Launch};
use millstream::engine::{Checker, Engine, SqlChecker, SqlEngine};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The real engine.
struct Real;

impl Launch for Real {
    fn engine(&self, settings: &Settings) -> Result<Arc<dyn SqlEngine>> {
        let clock: Arc<dyn Clock> = match settings.clock_file.as_str() {
            "" => Arc::new(SystemClock::default()),
            path => Arc::new(FileClock::new(path)),
        };
        Ok(Arc::new(Engine::start(settings.clone(), clock)?))
    }

    fn checker(&self, settings: &Settings) -> Result<Box<dyn SqlChecker>> {
        Ok(Box::new(Checker::new(settings)?))
    }
}

fn main() -> ExitCode {
    cli::main(&Real, std::env::args_os())
}
