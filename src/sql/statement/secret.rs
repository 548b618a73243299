//! What is said about secrets.

use super::Name;
use crate::base::Secret;

/// A statement about secrets.
#[derive(Clone, Debug)]
pub enum SecretStatement {
    /// `CREATE SECRET [IF NOT EXISTS] name AS 'value'`.
    Create {
        /// Its name.
        name: Name,
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
        /// Its value.
        value: Secret,
    },
    /// `ALTER SECRET name AS 'value'`.
    Alter {
        /// Which.
        name: Name,
        /// Its new value.
        value: Secret,
    },
    /// `DROP SECRET [IF EXISTS] name, ... [CASCADE]`.
    Drop {
        /// Which.
        names: Vec<Name>,
        /// `IF EXISTS`.
        if_exists: bool,
        /// `CASCADE`.
        cascade: bool,
    },
    /// `COMMENT ON SECRET name IS 'text' | NULL`.
    Comment {
        /// Which.
        name: Name,
        /// The text; none: no comment.
        text: Option<String>,
    },
}

impl SecretStatement {
    /// The command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            SecretStatement::Create { .. } => "CREATE SECRET",
            SecretStatement::Alter { .. } => "ALTER SECRET",
            SecretStatement::Drop { .. } => "DROP SECRET",
            SecretStatement::Comment { .. } => "COMMENT",
        }
    }
}
