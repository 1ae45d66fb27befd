//! A network that others begin with, shared by all who use it.

use std::sync::Arc;

use crate::error::Result;
use crate::ml::foundation::network::FoundationNetwork;
use crate::ml::foundation::weights::read;

/// A network and the file that it came from; equal where the files are.
#[derive(Debug, Clone)]
pub struct Base {
    file: Arc<[u8]>,
    network: Arc<FoundationNetwork>,
}

impl Base {
    /// The network of a file.
    pub fn read(file: &[u8]) -> Result<Self> {
        Ok(Self { network: Arc::new(read(file)?), file: file.into() })
    }

    /// The file.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// The network.
    pub fn network(&self) -> &FoundationNetwork {
        &self.network
    }
}

impl PartialEq for Base {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}
