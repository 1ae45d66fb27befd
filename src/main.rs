//! The command `foretell`: reads its arguments and opens one of the doors.

use std::ffi::{OsString, c_int, c_long};
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use foretell::engine::{Database, Settings};
use foretell::repl::{Format, Script, run_script, run_shell};
use foretell::server::{ServeOptions, Server};
use foretell::{Error, Result};
use mimalloc::MiMalloc;

/// Training allocates and frees large tensors all the time; this allocator halves that cost.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay` of mimalloc 3: for how many milliseconds it keeps what was freed.
const PURGE_DELAY: c_int = 15;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

const ENVIRONMENT: &str = "\
Environment:
  FORETELL_DATABASE      database directory when none is given
  FORETELL_MEMORY_LIMIT  as --memory-limit
  FORETELL_THREADS       as --threads
  FORETELL_FORMAT        as --format
  FORETELL_HISTORY       history file of the shell; empty for none
  FORETELL_PAGER         pager of the shell, before PAGER; empty for none
  NO_COLOR               no colours";

/// SQL that forecasts: train on your sales tables, read forecasts with intervals.
#[derive(Debug, Parser)]
#[command(version, after_help = ENVIRONMENT, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    door: Option<Door>,
    /// Database directory, created when absent; without one, a temporary database
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
}

#[derive(Debug, Subcommand)]
enum Door {
    /// Run a file of statements and stop at the first error
    Run {
        /// File of SQL statements, or - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Database directory, created when absent; without one, a temporary database
        #[arg(long, value_name = "DIR")]
        database: Option<PathBuf>,
        /// How results are printed: table, csv or json
        #[arg(long)]
        format: Option<Format>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Serve a database to psql, BI tools and drivers of PostgreSQL
    Serve {
        /// Database directory, created when absent
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Address to listen on; others than loopback need TLS and a role with a password
        #[arg(long, value_name = "ADDRESS", default_value_t = ServeOptions::default().host, value_parser = parse_host)]
        host: IpAddr,
        /// Port to listen on
        #[arg(long, value_name = "PORT", default_value_t = ServeOptions::default().port)]
        port: u16,
        /// Let every client of this machine in without a password
        #[arg(long)]
        trust: bool,
        /// Folder of a Unix socket, on which the user who runs the server is the owner without a password
        #[arg(long, value_name = "FOLDER")]
        socket: Option<PathBuf>,
        /// PEM file of the server's certificate and those that vouch for it
        #[arg(long, value_name = "FILE", requires = "tls_key")]
        tls_certificate: Option<PathBuf>,
        /// PEM file of the certificate's private key
        #[arg(long, value_name = "FILE", requires = "tls_certificate")]
        tls_key: Option<PathBuf>,
        /// Directory whose files COPY and external tables may reach; may be given again
        #[arg(long = "allow-dir", value_name = "DIR")]
        allow_directories: Vec<PathBuf>,
        /// Most clients at once
        #[arg(long, value_name = "N", default_value_t = ServeOptions::default().max_connections, value_parser = parse_connections)]
        max_connections: usize,
        #[command(flatten)]
        limits: Limits,
    },
}

#[derive(Debug, Args)]
struct Limits {
    /// Refuse every change; other processes may write meanwhile
    #[arg(long)]
    read_only: bool,
    /// Memory for queries and training together, such as 512MB or 4GB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory_limit: Option<usize>,
    /// Threads for queries and training
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    if variable(foretell::CANDLE_THREADS).is_none() {
        // SAFETY: no other thread has started that could read the environment.
        unsafe { std::env::set_var(foretell::CANDLE_THREADS, "1") };
    }
    // With its own delay of a second, statements that spill take up to 170 MiB more than they are counted for.
    // SAFETY: the option and its values are those of the library that is linked.
    unsafe { mi_option_set(PURGE_DELAY, 10) };
    match open_door(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ERROR: {error}");
            for (label, text) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
                if let Some(text) = text {
                    eprintln!("{label}: {text}");
                }
            }
            ExitCode::FAILURE
        }
    }
}

fn open_door(arguments: Arguments) -> Result<ExitCode> {
    match arguments.door {
        Some(Door::Run { file, database, format, limits }) => {
            let directory = database.or_else(|| variable("FORETELL_DATABASE").map(PathBuf::from));
            let database = open(directory.as_ref(), limits)?;
            let format =
                format.map_or_else(|| environment("FORETELL_FORMAT", str::parse), |f| Ok(Some(f)))?;
            run_script(&database, &Script::named(&file), format.unwrap_or_default())
        }
        Some(Door::Serve {
            directory,
            host,
            port,
            trust,
            socket,
            tls_certificate,
            tls_key,
            max_connections,
            allow_directories,
            limits,
        }) => {
            let tls = tls_certificate.zip(tls_key);
            let options = ServeOptions {
                host,
                port,
                socket_directory: socket,
                trust,
                tls,
                max_connections,
                allow_directories,
            };
            serve(open(Some(&directory), limits)?, &options)
        }
        None => {
            let directory = arguments.directory.or_else(|| variable("FORETELL_DATABASE").map(PathBuf::from));
            let database = open(directory.as_ref(), arguments.limits)?;
            if !std::io::stdin().is_terminal() {
                return run_script(&database, &Script::Stdin, Format::default());
            }
            run_shell(&database, &greeting(directory.as_ref()))
        }
    }
}

/// Serves a database until the process is told to stop.
fn serve(database: Database, options: &ServeOptions) -> Result<ExitCode> {
    let owner = first_owner(&database)?;
    // It is told only once, also where the server does not start.
    let server = Server::start(database, options).inspect_err(|_| owner.iter().for_each(tell_owner))?;
    let address = server.address().map_err(|e| Error::io(&PathBuf::from("socket"), &e))?;
    let name = server.database_name();
    println!("foretell {} serves {name} on {address}", env!("CARGO_PKG_VERSION"));
    if let Some(socket) = server.socket() {
        println!("and on the Unix socket {}", socket.display());
    }
    if options.trust {
        println!("--trust: every client of this machine is let in without a password");
    }
    let (host, port) = (address.ip(), address.port());
    match owner {
        Some(owner) => {
            tell_owner(&owner);
            let (user, password, _) = owner;
            println!("  psql \"postgresql://{user}:{password}@{host}:{port}/{name}\"");
        }
        None => println!("  psql -h {host} -p {port} -d {name} -U <role>"),
    }
    server.run()?;
    println!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn tell_owner((user, password, file): &(String, String, PathBuf)) {
    println!("The owner is \"{user}\" with the password {password}, kept in {}", file.display());
}

/// Makes the owner when there is none yet: name, password, and the file that keeps it.
fn first_owner(database: &Database) -> Result<Option<(String, String, PathBuf)>> {
    database.create_owner(&whoami::username().unwrap_or_else(|_| "foretell".to_owned()))
}

fn greeting(directory: Option<&PathBuf>) -> String {
    let place = match directory {
        None => "temporary database, gone when you leave; `foretell DIR` keeps one".to_owned(),
        Some(directory) => directory.display().to_string(),
    };
    format!("foretell {}, {place}", env!("CARGO_PKG_VERSION"))
}

/// Opens this directory, or else a temporary database.
fn open(directory: Option<&PathBuf>, limits: Limits) -> Result<Database> {
    let settings = Settings {
        read_only: limits.read_only,
        memory_limit: limits
            .memory_limit
            .map_or_else(|| environment("FORETELL_MEMORY_LIMIT", parse_size), |n| Ok(Some(n)))?,
        threads: limits
            .threads
            .map_or_else(|| environment("FORETELL_THREADS", parse_threads), |n| Ok(Some(n)))?,
    };
    match directory {
        Some(directory) => Database::open_with(directory, settings),
        None => Database::temporary_with(settings),
    }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The value of an environment variable, read as the flag of the same meaning is.
fn environment<T>(name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>> {
    let Some(value) = variable(name) else { return Ok(None) };
    let value = value.to_string_lossy();
    let refused =
        |reason| Error::input(foretell::error::Subject::Option, format!("{name}={value}: {reason}"));
    parse(&value).map(Some).map_err(refused)
}

/// Bytes, optionally with a unit of 1024s.
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: usize = match text[digits..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        other => return Err(format!("unknown unit {other}: write bytes, or KB, MB, GB, TB")),
    };
    let number: usize = text[..digits].parse().map_err(|_| "a size starts with a whole number".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "more bytes than this machine can address".to_owned())
}

/// An address, or the name of this machine.
fn parse_host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        "*" => Ok(IpAddr::from([0, 0, 0, 0])),
        text => text.parse().map_err(|_| "an address such as 127.0.0.1, ::1 or 0.0.0.0".to_owned()),
    }
}

fn parse_connections(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=10_000).contains(n))
        .ok_or_else(|| "a whole number from 1 to 10000".to_owned())
}

fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a whole number from 1".to_owned()),
        Ok(threads) => Ok(threads),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
        let parsed = Arguments::parse_from(["foretell", "run", "--format", "csv", "-"]);
        assert!(matches!(parsed.door, Some(Door::Run { format: Some(Format::Csv), .. })));
        let parsed = Arguments::parse_from(["foretell", "--read-only", "shop"]);
        assert!(parsed.limits.read_only && parsed.directory == Some(PathBuf::from("shop")));
    }

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(parse_size("512MB"), Ok(512 << 20));
        assert_eq!(parse_size("4 GiB"), Ok(4 << 30));
        assert_eq!(parse_size("77"), Ok(77));
        assert!(
            parse_size("GB").is_err() && parse_size("1XB").is_err() && parse_size("99999999999TB").is_err()
        );
    }
}
