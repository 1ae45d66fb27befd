//! What `cargo fuzz` calls, see the folder `fuzz`: whatever the bytes are, these return, and no memory is taken for them
//! that they do not pay for.

pub use crate::engine::fuzz::{delta_log, model_file, parquet, sql, train_options};
pub use crate::server::fuzz::{copy, login, session};

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    /// The inputs that are kept of a target, reduced: each was new to the fuzzer once, or ended the process.
    fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let found = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
        let inputs: Vec<_> = found.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        assert!(inputs.len() > 5, "{target}: {}", inputs.len());
        inputs
    }

    fn replay(target: &str, run: impl Fn(&[u8])) {
        for (path, bytes) in corpus(target) {
            let started = std::time::Instant::now();
            run(&bytes);
            assert!(started.elapsed().as_secs() < 30, "{} hangs", path.display());
        }
    }

    fn replay_texts(target: &str, run: impl Fn(&str)) {
        replay(target, |bytes| run(&String::from_utf8_lossy(bytes)));
    }

    #[test]
    fn sql_texts_are_planned_or_refused() {
        replay_texts("sql", super::sql);
    }

    #[test]
    fn options_of_trainings_are_taken_or_refused() {
        replay_texts("train_options", super::train_options);
    }

    #[test]
    fn clients_are_served_or_refused() {
        replay("session", |bytes| drop(super::session(bytes)));
    }

    #[test]
    fn logins_are_refused() {
        replay("login", |bytes| {
            let heard = super::login(bytes);
            let is_in = heard.windows(9).any(|told| told == [b'R', 0, 0, 0, 8, 0, 0, 0, 0]);
            assert!(!is_in, "a client without a password is let in");
        });
    }

    #[test]
    fn model_files_are_read_or_refused() {
        replay("model_file", super::model_file);
    }

    #[test]
    fn logs_are_read_or_refused() {
        replay("delta_log", super::delta_log);
    }

    #[test]
    fn rows_of_copy_are_read_or_refused() {
        replay("copy", super::copy);
    }

    #[test]
    fn parquet_files_are_read_or_refused() {
        replay("parquet", super::parquet);
    }
}
