//! Questions to a server with a certificate of a company's own authority.

use crate::{
    bed::Bed,
    desk::{Desk, RUN, cases, end_of},
    need_bed,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::Arc,
};

/// A Prometheus server as far as this test needs one: whatever it is asked, nothing is wrong. It ends with the process.
fn server() -> u16 {
    let chain = CertificateDer::pem_file_iter(cases("tls/server.pem")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(cases("tls/server-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            let mut line = String::new();
            // A client that does not like the certificate says nothing more.
            while stream.read_line(&mut line).is_ok_and(|n| n > 0) && !line.trim().is_empty() {
                line.clear();
            }
            let body = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let mut stream = stream.into_inner();
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}

fn desk(bed: &Bed, port: u16) -> Desk {
    let desk = bed.desk("", "name = \"p\"\n[[migrate]]\nname = \"change\"\nrun = \"true\"\n");
    let rollout = format!(
        "[[wave]]\nname = \"all\"\nhosts = \"@all\"\n[[interrupt]]\nname = \"errors\"\n\
         prometheus = \"errors > 5\"\nserver = \"https://127.0.0.1:{port}\"\nevery = \"1s\"\ntimeout = \"20s\"\n"
    );
    desk.write("fleet/rollout.toml", rollout);
    desk
}

#[test]
fn a_server_is_known_by_the_authorities_of_the_machine() {
    need_bed!("a_server_is_known_by_the_authorities_of_the_machine");
    let (bed, port) = (Bed::plain(&["web-01"]), server());
    let mut known = desk(&bed, port);
    known.set("SSL_CERT_FILE", cases("tls/authority.pem").to_str().unwrap());
    known.run().exits(0);
    assert_eq!(end_of(&known.status(), "web-01").0, "migrated");

    // Nobody is believed whom no authority knows: no host starts, and it is said why.
    let unknown = desk(&bed, port);
    let mut run = unknown.start(&RUN);
    run.wait_for("an answer", |record| record["event"] == "watch_told");
    let told = run.seen.last().unwrap();
    assert!(told.to_string().contains("certificate"), "{told}");
    run.signal(rustix::process::Signal::INT);
    run.end().exits(3);
    assert_eq!(end_of(&unknown.status(), "web-01").0, "pending");
}
