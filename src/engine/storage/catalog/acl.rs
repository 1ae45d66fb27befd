//! Who may do what with a thing: its owner and what was granted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Everybody, in GRANT and REVOKE.
pub const PUBLIC: &str = "public";

/// One right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privilege {
    /// Rows of a table or a view may be read; a model may forecast.
    Select,
    /// Rows may be added.
    Insert,
    /// Rows may be changed.
    Update,
    /// Rows may be deleted.
    Delete,
    /// All rows may be deleted at once.
    Truncate,
    /// A model may be trained anew.
    Refresh,
    /// What is in a schema may be looked up.
    Usage,
    /// Things may be created in a schema.
    Create,
}

impl Privilege {
    /// All of them, in the order in which PostgreSQL writes them.
    pub const ALL: [Self; 8] = [
        Self::Insert,
        Self::Select,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::Refresh,
        Self::Usage,
        Self::Create,
    ];

    /// SQL's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::Refresh => "REFRESH",
            Self::Usage => "USAGE",
            Self::Create => "CREATE",
        }
    }

    /// The right with this letter.
    pub fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|privilege| privilege.letter() == letter)
    }

    /// The letter in PostgreSQL's lists; REFRESH has that of MAINTAIN.
    fn letter(self) -> char {
        match self {
            Self::Select => 'r',
            Self::Insert => 'a',
            Self::Update => 'w',
            Self::Delete => 'd',
            Self::Truncate => 'D',
            Self::Refresh => 'm',
            Self::Usage => 'U',
            Self::Create => 'C',
        }
    }
}

/// What rights there are on a kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclKind {
    /// Tables, views and tables over files.
    Table,
    /// Models.
    Model,
    /// Schemas.
    Schema,
    /// Sequences.
    Sequence,
}

impl AclKind {
    /// The rights that ALL stands for.
    pub fn privileges(self) -> &'static [Privilege] {
        use Privilege as P;
        match self {
            Self::Table => &[P::Insert, P::Select, P::Update, P::Delete, P::Truncate],
            Self::Model => &[P::Select, P::Refresh],
            Self::Schema => &[P::Usage, P::Create],
            Self::Sequence => &[P::Usage, P::Select, P::Update],
        }
    }
}

/// The owner of a thing and what was granted on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl {
    /// The role that made it; none for the owner of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Rights by role; [`PUBLIC`] is everybody.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, BTreeSet<Privilege>>,
}

impl Acl {
    /// Of a thing that a role makes.
    pub fn of_owner(owner: Option<String>) -> Self {
        Self { owner, grants: BTreeMap::new() }
    }

    /// True when there is nothing to remember.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Gives rights to a role.
    pub fn grant(&mut self, role: &str, privileges: &[Privilege]) {
        self.grants.entry(role.to_owned()).or_default().extend(privileges);
    }

    /// Takes rights from a role.
    pub fn revoke(&mut self, role: &str, privileges: &[Privilege]) {
        if let Some(held) = self.grants.get_mut(role) {
            held.retain(|privilege| !privileges.contains(privilege));
        }
        self.grants.retain(|_, held| !held.is_empty());
    }

    /// Gives rights to a role, or with `revoke` takes them.
    pub fn change(&mut self, role: &str, privileges: &[Privilege], revoke: bool) {
        if revoke { self.revoke(role, privileges) } else { self.grant(role, privileges) }
    }

    /// Makes a role the owner, whose rights need no grants.
    pub fn give_to(&mut self, owner: &str) {
        self.forget(owner);
        self.owner = Some(owner.to_owned());
    }

    /// Takes everything from a role that is to go.
    pub fn forget(&mut self, role: &str) {
        self.grants.remove(role);
    }

    /// PostgreSQL's list, such as `{ann=ar/owner}`; `None` when only the owner has rights.
    pub fn items(&self, owner: &str, kind: AclKind) -> Option<Vec<String>> {
        if self.grants.is_empty() {
            return None;
        }
        let letters = |held: &dyn Fn(Privilege) -> bool| -> String {
            Privilege::ALL.into_iter().filter(|p| held(*p)).map(Privilege::letter).collect()
        };
        let all = letters(&|p| kind.privileges().contains(&p));
        let mut items = vec![format!("{owner}={all}/{owner}")];
        items.extend(self.grants.iter().filter(|(role, _)| *role != owner).map(|(role, held)| {
            let role = if role == PUBLIC { "" } else { role.as_str() };
            format!("{role}={}/{owner}", letters(&|p| held.contains(&p)))
        }));
        Some(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_written_as_postgresql_writes_them() {
        let mut acl = Acl::of_owner(Some("ann".to_owned()));
        assert_eq!(acl.items("ann", AclKind::Table), None);
        acl.grant("bob", &[Privilege::Select, Privilege::Insert]);
        acl.grant(PUBLIC, &[Privilege::Select]);
        let items = acl.items("ann", AclKind::Table).unwrap();
        assert_eq!(items, ["ann=arwdD/ann", "bob=ar/ann", "=r/ann"]);
        acl.revoke("bob", AclKind::Table.privileges());
        acl.forget(PUBLIC);
        assert_eq!(acl.items("ann", AclKind::Table), None);
    }
}
