//! Logins: roles, passwords by SCRAM-SHA-256, and what stays open without any.

use std::process::{Command, Output};

use tokio_postgres::NoTls;

use crate::harness::{Db, Server, block_on, temporary};

/// Connects as `user` with `password`; the error as SQLSTATE and message.
async fn connect(server: &Server, user: &str, password: &str) -> Result<Db, String> {
    let mut config = tokio_postgres::Config::new();
    let address = server.address();
    config.host(address.ip().to_string()).port(address.port()).user(user).dbname("millstream");
    if !password.is_empty() {
        config.password(password);
    }
    match config.connect(NoTls).await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            Ok(Db::of(client))
        }
        Err(error) => Err(match error.as_db_error() {
            Some(error) => format!("{} {}", error.code().code(), error.message()),
            None => error.to_string(),
        }),
    }
}

fn psql(server: &Server, user: &str, password: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-h", &server.address().ip().to_string(), "-U", user, "-d", "millstream"]);
    command.args(["-p", &server.address().port().to_string()]).args(arguments).env("PGPASSWORD", password);
    command.output().unwrap()
}

#[test]
fn a_first_password_closes_the_door() {
    let mut server = Server::start(&["--login-delay", "10ms", "--log", "warn,audit=info"]);
    block_on(async {
        let open = connect(&server, "whoever", "").await.unwrap();
        let superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
        assert_eq!(open.value(superuser).await, "t");
        let (code, message) = open.error("CREATE ROLE ada LOGIN PASSWORD 'first'").await;
        assert_eq!((code.as_str(), message.as_str()), ("55006", "no superuser would have a password"));
        open.run("ALTER ROLE millstream PASSWORD 'open sesame'").await;
        open.run("CREATE ROLE ada LOGIN PASSWORD 'lovelace'; CREATE ROLE nobody; CREATE USER plain").await;
        open.run("CREATE ROLE old LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01'").await;
        open.run("CREATE ROLE one LOGIN PASSWORD 'x' CONNECTION LIMIT 1").await;
        let refused = |user: &str| format!("28P01 password authentication failed for user \"{user}\"");
        for (user, password) in [("ada", "wrong"), ("whoever", "x"), ("plain", "x"), ("old", "x"), ("nobody", "x")] {
            assert_eq!(connect(&server, user, password).await.err(), Some(refused(user)), "{user}");
        }
        assert!(connect(&server, "ada", "").await.is_err());
        let ada = connect(&server, "ada", "lovelace").await.unwrap();
        assert_eq!(ada.value(superuser).await, "f");
        let first = connect(&server, "one", "x").await.unwrap();
        assert_eq!(
            connect(&server, "one", "x").await.err().as_deref(),
            Some("53300 too many connections for role \"one\"")
        );
        drop(first);
        assert_eq!(open.value("SELECT current_user").await, "whoever", "who was there stays");
    });
    server.restart(None);
    block_on(async {
        let ada = connect(&server, "ada", "lovelace").await.unwrap();
        ada.run("ALTER ROLE ada PASSWORD 'byron'").await;
        assert_eq!(ada.error("ALTER ROLE millstream PASSWORD 'x'").await.0, "42501");
        assert!(connect(&server, "ada", "lovelace").await.is_err());
        let owner = connect(&server, "millstream", "open sesame").await.unwrap();
        let ready = owner.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'ada'").await;
        assert!(ready.starts_with("SCRAM-SHA-256$4096:"), "{ready}");
        assert_eq!(ada.value("SELECT rolpassword FROM pg_roles WHERE rolname = 'millstream'").await, "********");
        // A verifier is taken as it is.
        owner.run(&format!("CREATE ROLE twin LOGIN PASSWORD '{ready}'")).await;
        connect(&server, "twin", "byron").await.unwrap();
        let shown = owner.value("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()").await;
        assert!(shown.starts_with("SELECT query"), "{shown}");
    });
    let log = server.log();
    for expected in ["login refused", "login user=\"ada\"", "catalog changed", "ALTER ROLE ada PASSWORD '***'"] {
        assert!(log.contains(expected), "{expected}:\n{log}");
    }
    for password in ["lovelace", "byron", "open sesame", "wrong"] {
        assert!(!log.contains(password), "{password} is in the log");
    }
}

#[test]
fn the_password_file_is_a_way_in() {
    let folder = temporary("millstream-it-");
    std::fs::write(folder.path().join("password"), "from the file\n").unwrap();
    let server = Server::start_in(folder, &["--password-file", "password"]);
    block_on(async {
        assert!(connect(&server, "millstream", "").await.is_err());
        connect(&server, "millstream", "from the file").await.unwrap();
    });
    if Command::new("psql").arg("--version").output().is_ok() {
        let told = psql(&server, "millstream", "from the file", &["-c", "SELECT 'hello'"]);
        assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), "hello");
        let told = psql(&server, "millstream", "wrong", &["-c", "SELECT 'hello'"]);
        assert!(String::from_utf8_lossy(&told.stderr).contains("password authentication failed for user"));
        let told = psql(&server, "millstream", "from the file", &["-c", "CREATE ROLE ada", "-c", "\\du"]);
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.contains("ada|Cannot login"), "{told}");
    }
}

/// A certificate of its own for `localhost`, signed by itself.
fn certificate(folder: &std::path::Path) -> bool {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-sha256", "-days", "2", "-nodes", "-subj", "/CN=localhost"]);
    command.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    command.args(["-keyout", "server.key", "-out", "server.crt"]).current_dir(folder);
    command.output().is_ok_and(|output| output.status.success())
}

/// What psql says over TLS, whose certificate must be the one in `folder`.
fn psql_tls(server: &Server, options: &str, password: &str, sql: &str) -> Output {
    let root = server.folder().join("server.crt");
    let text = format!(
        "host=localhost hostaddr=127.0.0.1 port={} dbname=millstream user=millstream sslmode=verify-full sslrootcert={} {options}",
        server.address().port(),
        root.display()
    );
    Command::new("psql").args(["-X", "-A", "-t", "-c", sql, &text]).env("PGPASSWORD", password).output().unwrap()
}

#[test]
fn tls_is_spoken_and_logins_are_bound_to_it() {
    let folder = temporary("millstream-it-");
    if !certificate(folder.path()) || Command::new("psql").arg("--version").output().is_err() {
        assert!(std::env::var("CI").is_err(), "openssl and psql are needed");
        println!("passed over: no openssl or no psql");
        return;
    }
    std::fs::write(folder.path().join("password"), "sesame").unwrap();
    let arguments = ["--tls-cert", "server.crt", "--tls-key", "server.key", "--password-file", "password"];
    let server = Server::start_in(folder, &[arguments.as_slice(), &["--login-delay", "10ms"]].concat());
    let stdout = |output: &Output| String::from_utf8_lossy(&output.stdout).trim().to_string();
    let stderr = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    for options in [
        "channel_binding=require",
        "channel_binding=disable",
        "ssl_max_protocol_version=TLSv1.2",
        "ssl_min_protocol_version=TLSv1.3",
    ] {
        let told = psql_tls(&server, options, "sesame", "SELECT sum(i) FROM generate_series(1, 100000) AS t(i)");
        assert_eq!(stdout(&told), "5000050000", "{options}: {}", stderr(&told));
    }
    let told = psql_tls(&server, "channel_binding=require", "wrong", "SELECT 1");
    assert!(stderr(&told).contains("password authentication failed"), "{}", stderr(&told));
    // Rows that fill every buffer, both ways.
    let told = psql_tls(&server, "", "sesame", "SELECT repeat('x', 200) FROM generate_series(1, 50000)");
    assert_eq!(told.stdout.len(), 50_000 * 201);
    // Another certificate counts from the next connection on.
    let first = std::fs::read(server.folder().join("server.crt")).unwrap();
    assert!(certificate(server.folder()));
    let old = psql_tls(&server, "", "sesame", "SELECT 1");
    assert!(stderr(&old).contains("certificate verify failed"), "{}", stderr(&old));
    Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().unwrap();
    let since = std::time::Instant::now();
    while stdout(&psql_tls(&server, "", "sesame", "SELECT 1")) != "1" {
        assert!(since.elapsed() < crate::harness::PATIENCE, "the new certificate is not used");
    }
    assert_ne!(first, std::fs::read(server.folder().join("server.crt")).unwrap());
    // A broken file leaves what is in use.
    std::fs::write(server.folder().join("server.key"), "nothing").unwrap();
    Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().unwrap();
    assert_eq!(stdout(&psql_tls(&server, "", "sesame", "SELECT 1")), "1");
}

#[test]
fn the_network_is_not_listened_on_without_password_and_certificate() {
    let folder = temporary("millstream-it-");
    let told = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["serve", "--listen", "0.0.0.0:0", "--data-dir", "data"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.status.success() && text.contains("names an address of the network"), "{text}");
    assert!(text.contains("No role has a password, and there is no certificate"), "{text}");
}
