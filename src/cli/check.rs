//! `millstream check FILE.sql`: what would happen, without touching anything.

use std::path::Path;

use super::script::{located, read};
use super::{Launch, Screen};
use crate::base::{Result, Settings};

/// Plans the statements of `file` one after another and prints their plans. Fails at the first that does not plan.
pub fn check(launch: &dyn Launch, settings: &Settings, file: &Path, screen: &mut dyn Screen) -> Result<()> {
    let sql = read(file)?;
    let mut checker = launch.checker(settings)?;
    let at = |error| located(error, file, &sql);
    for statement in checker.parse(&sql).map_err(at)? {
        let plan = checker.check(&statement).map_err(at)?;
        let first_line = statement.text.lines().next().unwrap_or_default();
        screen.print(&format!("-- {first_line}\n{plan}"))?;
        if !plan.is_empty() {
            screen.print("\n")?;
        }
    }
    Ok(())
}
