//! The door for clients of PostgreSQL: protocol version 3 over TCP, TLS and Unix sockets.
//!
//! A socket is served by one task on the sockets' runtime (`listen`): login (`startup`, `auth`, `tls`), then
//! messages (`connection`) that run statements of a session on the queries' runtime (`run`, `portal`) and send
//! their rows (`crate::postgres`). A cancel request finds the running statement by its number and secret (`cancel`).

mod auth;
mod cancel;
mod connection;
mod copy_in;
mod copy_out;
mod copy_rows;
mod decode;
mod errors;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod listen;
mod message;
mod portal;
mod run;
mod startup;
mod tls;
mod values;
mod wire;

pub use listen::{ServeOptions, Server, Stopper};
pub use values::{binary_as_text, rows_as_text, type_oid};
