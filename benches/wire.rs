//! Rows over the wire, COPY and latencies, beside PostgreSQL on the same machine in the same run.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use foretell::engine::Database;
use foretell::server::{ServeOptions, Server};
use foretell::{Error, Result};
use serde_json::json;

use super::{Report, median};

/// Rows of the table that is read.
const ROWS: usize = 3_000_000;

/// Rows of COPY FROM STDIN.
const COPY_ROWS: usize = 1_000_000;

/// Runs of each measurement, the two servers in turn.
const RUNS: usize = 5;

/// Statements of a latency.
const STATEMENTS: usize = 2_000;

/// The table, in words that both servers understand.
const TABLE: &str = "CREATE TABLE wide AS SELECT g::int AS a, (g % 100)::smallint AS b, \
    DATE '2020-01-01' + (g % 1000)::int AS c, (g * 7 % 100000)::int AS d, g / 3.0::double precision AS e, \
    'item-' || (g % 5000) AS f FROM generate_series(1, ";

/// Runs all of it.
pub fn run() -> Result<Report> {
    let directory = tempfile::tempdir().map_err(|e| failed(&e))?;
    let ours = Ours::start(&directory.path().join("bench"))?;
    let theirs = Postgres::start(&directory.path().join("postgres"));
    let mut servers = vec![("foretell", ours.client()?)];
    match &theirs {
        Ok(postgres) => servers.push(("postgresql", postgres.client()?)),
        Err(reason) => eprintln!("wire: no PostgreSQL beside it ({reason})"),
    }
    let mut report = Report { lines: vec![], json: json!({}) };
    for (_, client) in &mut servers {
        client.query(&format!("{TABLE}{ROWS}) AS t(g)"))?;
        client.query("CREATE TABLE taken (a int, b int, c date, d int, e double precision, f text)")?;
    }
    let per_second = |rows: usize, seconds: f64| rows as f64 / seconds / 1e6;
    let read = |binary: bool| move |client: &mut Client| client.read_all("SELECT * FROM wide", binary);
    for (label, binary) in [("text, M rows/s", false), ("binary, M rows/s", true)] {
        let seconds = in_turn(&mut servers, RUNS, read(binary))?;
        report.compare(label, &servers, seconds.iter().map(|s| per_second(ROWS, *s)).collect());
    }
    let data = copy_data();
    let seconds = in_turn(&mut servers, RUNS, |client| client.copy_in("COPY taken FROM STDIN", &data))?;
    report.compare(
        "COPY in, M rows/s",
        &servers,
        seconds.iter().map(|s| per_second(COPY_ROWS, *s)).collect(),
    );
    let copy = |client: &mut Client| client.read_all("COPY wide TO STDOUT", false);
    let seconds = in_turn(&mut servers, RUNS, copy)?;
    report.compare("COPY out, M rows/s", &servers, seconds.iter().map(|s| per_second(ROWS, *s)).collect());
    for (label, share) in [("SELECT 1 p50, µs", 0.5), ("SELECT 1 p99, µs", 0.99)] {
        let select = |client: &mut Client| latency(client, share, |c| c.query("SELECT 1"));
        let seconds = in_turn(&mut servers, RUNS, select)?;
        report.compare(label, &servers, seconds.iter().map(|s| s * 1e6).collect());
    }
    forecasts(&mut servers[0].1, &mut report)?;
    drop((servers, ours, theirs));
    Ok(report)
}

/// The forecast of one series by a prepared statement, the model warm.
fn forecasts(client: &mut Client, report: &mut Report) -> Result<()> {
    client.query(
        "CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 100, days => 730, seed => 7)",
    )?;
    client.query(
        "TRAIN FORECAST MODEL m ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date \
         HORIZON 28 WITH (epochs = 2)",
    )?;
    client.prepare("f", "SELECT * FROM forecast(m) WHERE store_id = 1 AND item_id = $1")?;
    let item = client.first("SELECT min(item_id) FROM sales WHERE store_id = 1")?;
    for (label, share) in [("point forecast p50, ms", 0.5), ("point forecast p99, ms", 0.99)] {
        let seconds = latency(client, share, |c| c.execute("f", &item))?;
        report.lines.push((label.to_owned(), format!("{:.2}", seconds * 1e3)));
        report.json[label] = json!(seconds * 1e3);
    }
    Ok(())
}

impl Report {
    /// Figures of one kind, one each server, and the ratio of the first to the second.
    fn compare(&mut self, label: &str, servers: &[(&str, Client)], figures: Vec<f64>) {
        for ((name, _), figure) in servers.iter().zip(&figures) {
            self.lines.push((format!("{label}, {name}"), format!("{figure:.2}")));
        }
        let ratio = figures.get(1).map(|theirs| figures[0] / theirs);
        if let Some(ratio) = ratio {
            self.lines.push((format!("{label}, ratio"), format!("{ratio:.2}")));
        }
        self.json[label] = json!({ "figures": figures, "ratio": ratio });
    }
}

/// The median of what each server takes, the servers measured in turn.
fn in_turn(
    servers: &mut [(&str, Client)],
    runs: usize,
    measure: impl Fn(&mut Client) -> Result<f64>,
) -> Result<Vec<f64>> {
    let mut seconds = vec![vec![]; servers.len()];
    for _ in 0..runs {
        for ((_, client), seconds) in servers.iter_mut().zip(&mut seconds) {
            seconds.push(measure(client)?);
        }
    }
    Ok(seconds.into_iter().map(median).collect())
}

/// The time in which this share of the statements is answered.
fn latency(client: &mut Client, share: f64, ask: impl Fn(&mut Client) -> Result<usize>) -> Result<f64> {
    for _ in 0..STATEMENTS / 10 {
        ask(client)?;
    }
    let mut seconds = vec![];
    for _ in 0..STATEMENTS {
        let started = Instant::now();
        ask(client)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[((seconds.len() - 1) as f64 * share) as usize])
}

fn copy_data() -> Vec<u8> {
    let mut data = Vec::with_capacity(COPY_ROWS * 50);
    for g in 0..COPY_ROWS {
        let (day, real) = (g % 28 + 1, g as f64 / 3.0);
        let row = writeln!(data, "{g}\t{}\t2020-01-{day:02}\t{}\t{real}\titem-{}", g % 100, g * 7, g % 5_000);
        row.expect("memory takes all that is written");
    }
    data
}

fn failed(error: &io::Error) -> Error {
    Error::internal(error.to_string())
}

/// A server of ours in this process.
struct Ours {
    port: u16,
    stopper: foretell::server::Stopper,
    thread: Option<std::thread::JoinHandle<Result<()>>>,
}

impl Ours {
    fn start(directory: &Path) -> Result<Self> {
        let options = ServeOptions { port: 0, trust: true, ..ServeOptions::default() };
        let server = Server::start(Database::open(directory)?, &options)?;
        let port = server.address().map_err(|e| failed(&e))?.port();
        let stopper = server.stopper();
        Ok(Self { port, stopper, thread: Some(std::thread::spawn(move || server.run())) })
    }

    fn client(&self) -> Result<Client> {
        Client::connect(self.port, "bench", "bench")
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.stopper.stop();
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A PostgreSQL of this machine in a directory of its own.
struct Postgres {
    port: u16,
    process: Child,
}

impl Postgres {
    fn start(directory: &Path) -> Result<Self, String> {
        let programs = programs().ok_or("it is not installed")?;
        let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        std::fs::create_dir(directory).map_err(|e| e.to_string())?;
        // It refuses to run as root.
        if is_root() {
            let parent = directory.parent().unwrap_or(directory);
            let _ = quiet(Command::new("chmod").arg("755").arg(parent));
            let _ = quiet(Command::new("chown").arg("postgres").arg(directory));
        }
        let data = directory.join("data");
        let made =
            quiet(plain_user(&programs.join("initdb")).args(["-A", "trust", "-U", "bench", "-D"]).arg(&data));
        if !made.is_ok_and(|status| status.success()) {
            return Err("initdb failed".to_owned());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|e| e.to_string())?
            .port();
        let mut command = plain_user(&programs.join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(directory).args(["-p", &port.to_string()]);
        let process =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
        let started = Instant::now();
        while Client::connect(port, "bench", "postgres").is_err() {
            if started.elapsed() > Duration::from_secs(30) {
                return Err("it does not start".to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Self { port, process })
    }

    fn client(&self) -> Result<Client> {
        Client::connect(self.port, "bench", "postgres")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// The program, as the user `postgres` where this process is root.
fn plain_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

/// The folder of the programs of the newest PostgreSQL.
fn programs() -> Option<PathBuf> {
    let folders =
        std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
    folders.filter(|bin| bin.join("initdb").exists()).max()
}

/// A client that reads messages and looks at nothing but their kinds.
struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    body: Vec<u8>,
}

impl Client {
    fn connect(port: u16, user: &str, database: &str) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port)).map_err(|e| failed(&e))?;
        socket.set_nodelay(true).map_err(|e| failed(&e))?;
        let writer = socket.try_clone().map_err(|e| failed(&e))?;
        let mut client = Self { reader: BufReader::with_capacity(1 << 20, socket), writer, body: vec![] };
        let mut packet = 196_608_i32.to_be_bytes().to_vec();
        for text in ["user", user, "database", database, ""] {
            packet.extend(text.as_bytes());
            packet.push(0);
        }
        let length = (packet.len() + 4) as i32;
        client.send(&[length.to_be_bytes().to_vec(), packet].concat())?;
        client.until_ready()?;
        Ok(client)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(|e| failed(&e))
    }

    /// The kind of the next message; its body is kept.
    fn next(&mut self) -> Result<u8> {
        let mut head = [0; 5];
        self.reader.read_exact(&mut head).map_err(|e| failed(&e))?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        self.body.resize(length, 0);
        self.reader.read_exact(&mut self.body).map_err(|e| failed(&e))?;
        Ok(head[0])
    }

    /// Reads up to ReadyForQuery and counts rows.
    fn until_ready(&mut self) -> Result<usize> {
        let (mut rows, mut error) = (0, None);
        loop {
            match self.next()? {
                b'D' | b'd' => rows += 1,
                b'E' => error = Some(String::from_utf8_lossy(&self.body).replace('\0', " ")),
                b'Z' => return error.map_or(Ok(rows), |text| Err(Error::internal(text))),
                _ => {}
            }
        }
    }

    fn query(&mut self, sql: &str) -> Result<usize> {
        self.send(&message(b'Q', &[sql.as_bytes(), b"\0"].concat()))?;
        self.until_ready()
    }

    /// The first value of a result.
    fn first(&mut self, sql: &str) -> Result<String> {
        self.send(&message(b'Q', &[sql.as_bytes(), b"\0"].concat()))?;
        let mut value = String::new();
        loop {
            match self.next()? {
                b'D' => value = String::from_utf8_lossy(&self.body[6..]).into_owned(),
                b'Z' => return Ok(value),
                _ => {}
            }
        }
    }

    /// Seconds in which all rows of a query come.
    fn read_all(&mut self, sql: &str, binary: bool) -> Result<f64> {
        let started = Instant::now();
        let rows = if binary {
            let parse = message(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat());
            let bind = message(b'B', b"\0\0\0\0\0\0\0\x01\0\x01");
            let execute = message(b'E', b"\0\0\0\0\0");
            self.send(&[parse, bind, execute, message(b'S', b"")].concat())?;
            self.until_ready()?
        } else {
            self.query(sql)?
        };
        if rows != ROWS {
            return Err(Error::internal(format!("{sql}: {rows} rows")));
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Seconds in which rows are stored; the table is emptied first.
    fn copy_in(&mut self, sql: &str, data: &[u8]) -> Result<f64> {
        self.query("TRUNCATE taken")?;
        let started = Instant::now();
        self.send(&message(b'Q', &[sql.as_bytes(), b"\0"].concat()))?;
        while self.next()? != b'G' {}
        for chunk in data.chunks(1 << 16) {
            self.send(&message(b'd', chunk))?;
        }
        self.send(&message(b'c', b""))?;
        self.until_ready()?;
        Ok(started.elapsed().as_secs_f64())
    }

    fn prepare(&mut self, name: &str, sql: &str) -> Result<()> {
        let parse = message(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat());
        self.send(&[parse, message(b'S', b"")].concat())?;
        self.until_ready().map(|_| ())
    }

    fn execute(&mut self, name: &str, value: &str) -> Result<usize> {
        let length = (value.len() as i32).to_be_bytes();
        let bind = [b"\0", name.as_bytes(), b"\0\0\0\0\x01", &length, value.as_bytes(), b"\0\0"].concat();
        let execute = message(b'E', b"\0\0\0\0\0");
        self.send(&[message(b'B', &bind), execute, message(b'S', b"")].concat())?;
        self.until_ready()
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 4) as i32;
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}
