//! The transaction of a session: what it would be in PostgreSQL, told honestly where it is not.
//!
//! Every statement commits by itself. BEGIN opens a block whose state clients rely on: after an error all but
//! ROLLBACK is refused. ROLLBACK warns when statements of the block have changed something.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result, Subject};

/// Where a session stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Outside a block.
    #[default]
    Idle,
    /// Inside a block.
    Active,
    /// Inside a block in which a statement failed.
    Failed,
}

/// The block and its savepoints.
#[derive(Debug, Default)]
pub struct Block {
    status: TransactionStatus,
    /// Statements that changed something: their tags.
    changes: Vec<String>,
    /// Savepoints, and how many changes there were before each.
    savepoints: Vec<(String, usize)>,
}

/// The transaction of a session, shared with its running statement.
#[derive(Debug, Clone, Default)]
pub struct Transaction(Arc<Mutex<Block>>);

impl Transaction {
    fn lock(&self) -> MutexGuard<'_, Block> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the session stands.
    pub fn status(&self) -> TransactionStatus {
        self.lock().status
    }

    /// Fails in a block that has failed.
    pub fn ensure_works(&self) -> Result<()> {
        if self.status() != TransactionStatus::Failed {
            return Ok(());
        }
        let message = "current transaction is aborted, commands ignored until end of transaction block";
        Err(Error::new(ErrorKind::Unavailable, Subject::Transaction, message)
            .with_hint("ROLLBACK ends the block"))
    }

    /// Opens a block; false when one is open already.
    pub fn begin(&self) -> bool {
        let mut block = self.lock();
        let opened = block.status == TransactionStatus::Idle;
        if opened {
            *block = Block { status: TransactionStatus::Active, ..Block::default() };
        }
        opened
    }

    /// A statement of the block has failed.
    pub fn fail(&self) {
        let mut block = self.lock();
        if block.status == TransactionStatus::Active {
            block.status = TransactionStatus::Failed;
        }
    }

    /// A statement has changed something.
    pub fn changed(&self, tag: &str) {
        let mut block = self.lock();
        if block.status == TransactionStatus::Active {
            block.changes.push(tag.to_owned());
        }
    }

    /// Ends the block; what it was, and what its statements changed.
    pub fn end(&self) -> (TransactionStatus, Vec<String>) {
        let ended = std::mem::take(&mut *self.lock());
        (ended.status, ended.changes)
    }

    /// Fails outside a block.
    pub fn ensure_block(&self, command: &str) -> Result<()> {
        match self.status() {
            TransactionStatus::Idle => Err(Error::input(
                Subject::Transaction,
                format!("{command} can only be used in transaction blocks"),
            )),
            _ => Ok(()),
        }
    }

    /// Sets a savepoint.
    pub fn save(&self, name: String) {
        let mut block = self.lock();
        let changes = block.changes.len();
        block.savepoints.push((name, changes));
    }

    /// Forgets a savepoint and those after it.
    pub fn release(&self, name: &str) -> Result<()> {
        let mut block = self.lock();
        let at = position(&block, name)?;
        block.savepoints.truncate(at);
        Ok(())
    }

    /// Goes back to a savepoint; the changes since, which stay.
    pub fn roll_back_to(&self, name: &str) -> Result<Vec<String>> {
        let mut block = self.lock();
        let at = position(&block, name)?;
        let kept = block.savepoints[at].1;
        block.savepoints.truncate(at + 1);
        block.status = TransactionStatus::Active;
        Ok(block.changes.split_off(kept))
    }
}

fn position(block: &Block, name: &str) -> Result<usize> {
    block
        .savepoints
        .iter()
        .rposition(|(n, _)| n == name)
        .ok_or_else(|| Error::not_found(Subject::Transaction, format!("savepoint \"{name}\" does not exist")))
}

/// What ROLLBACK has to say about changes that stay.
pub fn warning(changes: &[String]) -> Option<String> {
    told("ROLLBACK undid nothing", "of the transaction", changes)
}

/// What an error has to say about changes of the statements that were sent with the one that failed.
pub fn failure_warning(changes: &[&str]) -> Option<String> {
    told("the error undid nothing", "sent with it", changes)
}

fn told(what: &str, which: &str, changes: &[impl AsRef<str>]) -> Option<String> {
    let mut kinds: Vec<&str> = vec![];
    for tag in changes {
        if !kinds.contains(&tag.as_ref()) {
            kinds.push(tag.as_ref());
        }
    }
    let count = changes.len();
    let statements = if count == 1 { "statement" } else { "statements" };
    let kinds = kinds.join(", ");
    (count > 0).then(|| format!("{what}: {count} {statements} {which} ({kinds}) had been committed"))
}
