//! The server: sockets that listen, limits, and an orderly end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::cancel::Cancels;
use super::startup;
use super::tls::Tls;
use super::wire::Stream;
use crate::engine::{Database, FileAccess};
use crate::error::{Error, ErrorKind, Result, Subject};

/// Threads that serve sockets; queries have their own.
const SOCKET_THREADS: usize = 2;

/// Time that running statements have to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// Wrong cancel requests that are answered in a second.
const CANCELS_PER_SECOND: usize = 100;

/// Sockets that may be in the middle of their login at once, beside those that are logged in.
const LOGINS_MAX: usize = 512;

/// How a server is started.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on.
    pub port: u16,
    /// Folder of a Unix socket beside it.
    pub socket_directory: Option<PathBuf>,
    /// Let clients of the same machine in without a password.
    pub trust: bool,
    /// Files of a certificate and of its key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Most clients at once.
    pub max_connections: usize,
    /// Directories whose files statements may reach, beside the folder `files` of the database.
    pub allow_directories: Vec<PathBuf>,
}

impl Default for ServeOptions {
    /// On loopback, for 256 clients with passwords.
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 5433,
            socket_directory: None,
            trust: false,
            tls: None,
            max_connections: 256,
            allow_directories: vec![],
        }
    }
}

/// What all connections of a server share.
#[derive(Debug)]
pub struct Shared {
    /// The database.
    pub database: Database,
    /// What clients call it.
    pub database_name: String,
    /// The files that statements may reach.
    pub files: Arc<FileAccess>,
    /// Let clients of the same machine in without a password.
    pub trust: bool,
    /// TLS, when it was set up.
    pub tls: Option<Tls>,
    /// Makes the answers to unknown users steady.
    pub secret: [u8; 32],
    /// Running statements by connection.
    pub cancels: Cancels,
    /// The server is to stop.
    pub stopping: CancellationToken,
    cancel_turns: Semaphore,
    /// Sockets that are open.
    sockets: AtomicUsize,
    /// Those that are logged in.
    clients: AtomicUsize,
    /// Most of them at once.
    pub max_connections: usize,
    /// The port that it listens on.
    pub port: u16,
}

impl Shared {
    /// What the connections to this database share, of a server that listens on this port.
    pub fn new(database: Database, options: &ServeOptions, tls: Option<Tls>, port: u16) -> Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|e| unavailable(format!("no random numbers: {e}")))?;
        Ok(Self {
            database_name: name_of(database.path()),
            files: database.file_access(&options.allow_directories)?,
            database,
            trust: options.trust,
            tls,
            secret,
            cancels: Cancels::default(),
            stopping: CancellationToken::new(),
            cancel_turns: Semaphore::new(CANCELS_PER_SECOND),
            sockets: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
            max_connections: options.max_connections,
            port,
        })
    }

    /// Stops what a connection runs; a request with a wrong secret waits, and takes the place of the next guess.
    pub async fn cancel(&self, pid: i32, secret: &[u8]) {
        if !self.cancels.cancel(pid, secret)
            && let Ok(turn) = self.cancel_turns.acquire().await
        {
            turn.forget();
        }
    }
}

/// A socket among those that are counted.
#[derive(Debug)]
pub struct Guest {
    shared: Arc<Shared>,
    logged_in: AtomicBool,
}

impl Guest {
    /// One more.
    pub fn new(shared: &Arc<Shared>) -> Self {
        shared.sockets.fetch_add(1, Ordering::SeqCst);
        Self { shared: Arc::clone(shared), logged_in: AtomicBool::new(false) }
    }

    /// Counts it among the clients that are logged in; fails when there are too many.
    pub fn admit(&self) -> Result<()> {
        let most = self.shared.max_connections;
        self.logged_in.store(true, Ordering::SeqCst);
        if self.shared.clients.fetch_add(1, Ordering::SeqCst) < most {
            return Ok(());
        }
        let message = format!("sorry, too many clients already: the limit is {most}");
        Err(Error::new(ErrorKind::Unavailable, Subject::Connection, message)
            .with_hint("close connections, or start the server with a larger --max-connections"))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.shared.sockets.fetch_sub(1, Ordering::SeqCst);
        if self.logged_in.load(Ordering::SeqCst) {
            self.shared.clients.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A server that listens.
pub struct Server {
    runtime: Runtime,
    shared: Arc<Shared>,
    tcp: TcpListener,
    unix: Option<(UnixListener, PathBuf)>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({:?})", self.tcp)
    }
}

impl Server {
    /// Checks the options and begins to listen; clients wait until [`Server::run`] is called.
    pub fn start(database: Database, options: &ServeOptions) -> Result<Self> {
        let tls = options.tls.as_ref().map(|(certificate, key)| Tls::read(certificate, key)).transpose()?;
        ensure_safe(&database, options, tls.is_some())?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(SOCKET_THREADS)
            .thread_name("foretell-socket")
            .enable_all()
            .build()
            .map_err(|e| unavailable(format!("cannot start threads: {e}")))?;
        let guard = runtime.enter();
        let tcp = listen_tcp(SocketAddr::new(options.host, options.port))?;
        let port = tcp.local_addr().map_or(options.port, |address| address.port());
        let unix = options.socket_directory.as_deref().map(|folder| listen_unix(folder, port)).transpose()?;
        let shared = Shared::new(database, options, tls, port)?;
        drop(guard);
        Ok(Self { runtime, shared: Arc::new(shared), tcp, unix })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// What clients call the database.
    pub fn database_name(&self) -> &str {
        &self.shared.database_name
    }

    /// The path of the Unix socket.
    pub fn socket(&self) -> Option<&Path> {
        self.unix.as_ref().map(|(_, path)| path.as_path())
    }

    /// Stops the server from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    /// Serves clients until it is told to stop or the process gets SIGINT or SIGTERM, then lets statements end.
    pub fn run(self) -> Result<()> {
        let Self { runtime, shared, tcp, unix } = self;
        runtime.block_on(async {
            let (listener, path) = unix.map_or((None, None), |(listener, path)| (Some(listener), Some(path)));
            refill_cancels(&shared);
            tokio::select! {
                // Signals are listened to before the first client is let in.
                biased;
                () = told_to_stop(&shared) => {}
                () = accept(&tcp, listener.as_ref(), &shared) => {}
            }
            drop((tcp, listener));
            if let Some(path) = path {
                let _ = std::fs::remove_file(path);
            }
            end(&shared).await;
        });
        // What the tasks of clients hold is let go before the database is.
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(())
    }
}

/// Stops a server.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// Lets the server stop.
    pub fn stop(&self) {
        self.0.stopping.cancel();
    }
}

fn unavailable(message: String) -> Error {
    Error::new(ErrorKind::Unavailable, Subject::Connection, message)
}

/// Refuses to listen where strangers could read or come in.
fn ensure_safe(database: &Database, options: &ServeOptions, tls: bool) -> Result<()> {
    if options.host.is_loopback() {
        return Ok(());
    }
    let refused = |reason: &str, hint: &str| {
        let message = format!("will not listen on {}: {reason}", options.host);
        Err(Error::new(ErrorKind::Denied, Subject::Connection, message).with_hint(hint))
    };
    if !tls {
        return refused(
            "passwords and data would travel unencrypted",
            "give --tls-certificate and --tls-key, or listen on 127.0.0.1 only",
        );
    }
    if !database.has_passwords()? {
        return refused(
            "no role has a password",
            "start once on 127.0.0.1 to get the owner's, or CREATE ROLE name LOGIN PASSWORD '…'",
        );
    }
    Ok(())
}

/// What clients call a database: the name of its folder.
fn name_of(directory: &Path) -> String {
    directory.file_name().map_or_else(|| "foretell".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn listen_tcp(address: SocketAddr) -> Result<TcpListener> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|e| unavailable(format!("cannot listen on {address}: {e}")))
}

fn listen_unix(folder: &Path, port: u16) -> Result<(UnixListener, PathBuf)> {
    let path = folder.join(format!(".s.PGSQL.{port}"));
    // A socket that nobody answers on is left over from a server that was killed.
    if path.exists() && std::os::unix::net::UnixStream::connect(&path).is_err() {
        let _ = std::fs::remove_file(&path);
    }
    let failed = |e: io::Error| unavailable(format!("cannot listen on {}: {e}", path.display()));
    let listener = UnixListener::bind(&path).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).map_err(failed)?;
    Ok((listener, path))
}

fn refill_cancels(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let missing = CANCELS_PER_SECOND.saturating_sub(shared.cancel_turns.available_permits());
            shared.cancel_turns.add_permits(missing);
        }
    });
}

async fn accept(tcp: &TcpListener, unix: Option<&UnixListener>, shared: &Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            accepted = tcp.accept() => accepted.and_then(|(socket, _)| {
                socket.set_nodelay(true)?;
                notice_death(&socket)?;
                Ok(Stream::Tcp(socket))
            }),
            accepted = accept_unix(unix) => accepted,
        };
        match accepted {
            Ok(socket) => receive(socket, shared),
            // Out of file descriptors, or a client that has gone already: others may still come.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Lets the system ask after a client whose machine may have gone: one that is idle, and one that acknowledges nothing.
fn notice_death(socket: &TcpStream) -> io::Result<()> {
    let options = [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 60),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 10),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 6),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 60_000),
    ];
    for (level, name, value) in options {
        let value: libc::c_int = value;
        let (at, length) = ((&raw const value).cast(), size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: the socket is open, and the option is read from a number that lives until the call is done.
        let failed = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, at, length) } != 0;
        if failed {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

async fn accept_unix(unix: Option<&UnixListener>) -> io::Result<Stream> {
    match unix {
        Some(listener) => listener.accept().await.map(|(socket, _)| Stream::Unix(socket)),
        None => std::future::pending().await,
    }
}

/// Serves a socket by its own task; beyond all limits it is closed at once.
fn receive(socket: Stream, shared: &Arc<Shared>) {
    let guest = Guest::new(shared);
    if shared.sockets.load(Ordering::SeqCst) > shared.max_connections + LOGINS_MAX {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // A client that goes away in the middle is no concern of the server.
        let _ = startup::serve(socket, shared, &guest).await;
        drop(guest);
    });
}

async fn told_to_stop(shared: &Shared) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return shared.stopping.cancelled().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = shared.stopping.cancelled() => {}
    }
}

/// Idle clients are told at once; statements have some time to end, then they are stopped.
async fn end(shared: &Shared) {
    shared.stopping.cancel();
    let idle = async {
        while shared.sockets.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(GRACE, idle).await.is_err() {
        shared.cancels.cancel_all();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
