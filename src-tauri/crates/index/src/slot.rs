//! A part of an index that can be replaced while the index stays in use.

use std::sync::{Mutex, RwLock};

use crate::error::{Error, Part, Result};
use crate::quarantine::PartState;
use crate::sync::{lock, read, write};

pub(crate) struct Slot<T> {
    part: Part,
    /// None only when a damaged part could not be replaced.
    open: RwLock<Option<T>>,
    /// What was found damaged in use, since the part was opened.
    damage: Mutex<Option<Damage>>,
}

#[derive(Clone)]
enum Damage {
    /// On the disk, so that it must go.
    Stored(String),
    /// It has to be opened again, and may be whole.
    Halted,
}

impl<T> Slot<T> {
    pub fn new(part: Part, open: T) -> Self {
        Self {
            part,
            open: RwLock::new(Some(open)),
            damage: Mutex::new(None),
        }
    }

    /// Uses the part, and remembers damage that comes to light.
    pub fn with<R>(&self, work: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        let result = match read(&self.open).as_ref() {
            Some(open) => work(open),
            None => Err(self.closed()),
        };
        let damage = match &result {
            Err(Error::Damaged { detail, .. }) => Damage::Stored(detail.clone()),
            Err(Error::Halted(_)) => Damage::Halted,
            _ => return result,
        };
        lock(&self.damage).get_or_insert(damage);
        result
    }

    /// Looks at the part; the default stands for one that is not there.
    pub fn peek<R: Default>(&self, look: impl FnOnce(&T) -> R) -> R {
        read(&self.open).as_ref().map(look).unwrap_or_default()
    }

    pub fn is_damaged(&self) -> bool {
        lock(&self.damage).is_some()
    }

    /// Closes a damaged part, when nobody is at work with it, and puts in its place what `open`
    /// makes. `move_aside` gets the reason, once, unless the part only has to be opened again.
    pub fn mend(
        &self,
        move_aside: impl FnOnce(String) -> Result<PartState>,
        open: impl FnOnce() -> Result<(T, PartState)>,
    ) -> Result<PartState> {
        let Some(damage) = lock(&self.damage).clone() else {
            return Ok(PartState::Opened);
        };
        let mut slot = write(&self.open);
        // The same files cannot be open twice.
        let moved = match (slot.take(), damage) {
            (Some(_), Damage::Stored(reason)) => Some(move_aside(reason)?),
            (Some(_), Damage::Halted) | (None, _) => None,
        };
        let (part, state) = open()?;
        *slot = Some(part);
        lock(&self.damage).take();
        Ok(moved.unwrap_or(state))
    }

    /// Has `exchange` put another in the part's place, when nobody is at work with it. Fails with the
    /// part closed, to be mended, when `exchange` does.
    pub fn exchange(&self, exchange: impl FnOnce(T) -> Result<T>) -> Result<()> {
        let mut slot = write(&self.open);
        let part = slot.take().ok_or_else(|| self.closed())?;
        let result = exchange(part).map(|part| *slot = Some(part));
        if let Err(error) = &result {
            lock(&self.damage).get_or_insert_with(|| Damage::Stored(error.to_string()));
        }
        result
    }

    fn closed(&self) -> Error {
        Error::Damaged {
            part: self.part,
            detail: "it could not be replaced yet".into(),
        }
    }
}
