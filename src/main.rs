//! The `millstream` binary: hands over to [`millstream::cli`].

use std::process::ExitCode;
use std::sync::Arc;

use millstream::base::clock::SystemClock;
use millstream::base::{Result, Settings};
use millstream::cli::{self, Launch};
use millstream::engine::{Checker, Engine, SqlChecker, SqlEngine};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The real engine.
struct Real;

impl Launch for Real {
    fn engine(&self, settings: &Settings) -> Result<Arc<dyn SqlEngine>> {
        Ok(Arc::new(Engine::start(settings.clone(), Arc::new(SystemClock::default()))?))
    }

    fn checker(&self, settings: &Settings) -> Result<Box<dyn SqlChecker>> {
        Ok(Box::new(Checker::new(settings)?))
    }
}

fn main() -> ExitCode {
    cli::main(&Real, std::env::args_os())
}
