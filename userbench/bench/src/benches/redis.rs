// SPDX-License-Identifier: GPL-2.0

//! A Redis server that saves its data in the background, for which it forks, and what a client
//! notices of that.
//!
//! The client sends at fixed times, whether the server answers or not, and counts from when it should
//! have sent: a server that stops is felt by all requests that fall into that time, not by one.

use crate::{
    report::{Figure, report_all},
    runner::{self, RunArgs, Sample},
};
use anyhow::{Context, Result, bail, ensure};
use common::{record::Mode, size::Size};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::{
    env, fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

#[derive(clap::Args)]
pub struct Args {
    /// How much data the server has, in values of 1 KiB.
    #[arg(long, default_value = "1G")]
    size: Size,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(clap::Args, Serialize)]
struct Load {
    /// The server's program; one that speaks the same will do, such as valkey-server.
    #[arg(long, default_value = "redis-server")]
    server: String,
    /// How many requests the client sends in a second: GET and SET in turns, of any key.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// For how many milliseconds it does before a save, after one, and without one.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    phase_ms: u64,
}

const VALUE: usize = 1024;
/// What a key takes beside its value.
const KEY: u64 = 110;

/// When, of a round in which the server saves.
const PHASES: [&str; 4] = ["no-save", "before", "during", "after"];
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// The server, which ends with this.
struct Server {
    child: Child,
    directory: PathBuf,
}

impl Server {
    fn start(program: &str) -> Result<Self> {
        let directory = env::temp_dir().join(format!("userbench-redis-{}", process::id()));
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let child = Command::new(program)
            .args(["--port", "0", "--unixsocket"])
            .arg(socket(&directory))
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .args(["--enable-debug-command", "local", "--dir"])
            .arg(&directory)
            .stdout(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Ok(Self { child, directory }),
            Err(error) => {
                fs::remove_dir(&directory)?;
                match error.kind() {
                    ErrorKind::NotFound => bail!("{program} is not installed"),
                    _ => Err(error).context(program.to_string()),
                }
            }
        }
    }

    /// A connection, once the server is ready.
    fn connect(&mut self) -> Result<Client> {
        let path = socket(&self.directory);
        loop {
            if let Ok(stream) = UnixStream::connect(&path) {
                return Ok(Client(BufReader::new(stream)));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whatever fails here, there is nothing more to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("socket")
}

struct Client(BufReader<UnixStream>);

impl Client {
    /// Sends a request, and returns what it is answered.
    fn call(&mut self, words: &[&str]) -> Result<String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(request.as_bytes())?;

        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let text = line.trim_end();
        let (kind, rest) = text.split_at_checked(1).context("no answer")?;
        match (kind, rest.parse::<usize>()) {
            ("$", Ok(length)) => {
                let mut value = vec![0; length + 2];
                self.0.read_exact(&mut value)?;
                Ok(String::from_utf8_lossy(&value[..length]).into())
            }
            ("-", _) => bail!("{} is answered: {rest}", words[0]),
            _ => Ok(rest.into()),
        }
    }

    /// A number of what INFO tells.
    fn info(&mut self, section: &str, key: &str) -> Result<u64> {
        let text = self.call(&["INFO", section])?;
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.parse().ok())
            .with_context(|| format!("INFO {section} has no {key}"))
    }
}

/// When a request should have been sent, and how long after that it was answered.
type Request = (Instant, Duration);

/// Sends all requests that are due until it is told to stop.
fn send(
    client: &mut Client,
    load: &Load,
    keys: u64,
    stop: &OnceLock<Instant>,
) -> Result<Vec<Request>> {
    let value = "v".repeat(VALUE);
    let period = Duration::from_secs(1) / load.rate as u32;
    let mut due = Instant::now();
    let mut requests = Vec::new();
    while stop.get().is_none_or(|&stop| due < stop) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A prime, so that all keys have their turn.
        let key = format!("key:{}", requests.len() as u64 * 7_368_787 % keys);
        if requests.len() % 2 == 0 {
            client.call(&["GET", &key])?;
        } else {
            client.call(&["SET", &key, &value])?;
        }
        requests.push((due, due.elapsed()));
        due += period;
    }
    Ok(requests)
}

/// What a round has shown.
struct Round {
    fork: Duration,
    /// The latencies in each of the phases.
    phases: Vec<Histogram<u64>>,
}

/// Lets the server save, and a client send meanwhile.
fn round(admin: &mut Client, client: &mut Client, load: &Load, keys: u64) -> Result<Round> {
    let stop = OnceLock::new();
    let phase = Duration::from_millis(load.phase_ms);
    let mut marks = Vec::new();
    let (requests, fork) = thread::scope(|scope| {
        let sender = scope.spawn(|| send(client, load, keys, &stop));
        let saved = (|| {
            // The first requests may find things that the last round left.
            thread::sleep(phase / 4);
            marks.push(Instant::now());
            thread::sleep(phase);
            marks.push(Instant::now());
            thread::sleep(phase);
            marks.push(Instant::now());
            admin.call(&["BGSAVE"])?;
            while admin.info("persistence", "rdb_bgsave_in_progress")? != 0 {
                thread::sleep(Duration::from_millis(20));
            }
            marks.push(Instant::now());
            thread::sleep(phase);
            marks.push(Instant::now());
            let status = admin.call(&["INFO", "persistence"])?;
            ensure!(
                status.contains("rdb_last_bgsave_status:ok"),
                "it did not save"
            );
            admin.info("stats", "latest_fork_usec")
        })();
        let _ = stop.set(Instant::now());
        let requests = sender.join().expect("it does not panic");
        Ok::<_, anyhow::Error>((requests?, Duration::from_micros(saved?)))
    })?;

    let mut phases = Vec::new();
    for range in marks.windows(2) {
        let mut histogram = Histogram::new(3)?;
        for (due, latency) in &requests {
            if (range[0]..range[1]).contains(due) {
                histogram.record(latency.as_nanos() as u64)?;
            }
        }
        ensure!(!histogram.is_empty(), "no request was due in a whole phase");
        phases.push(histogram);
    }
    Ok(Round { fork, phases })
}

pub fn run(args: &Args) -> Result<()> {
    let mut server = Server::start(&args.load.server)?;
    let mut admin = server.connect()?;
    let mut client = server.connect()?;
    let keys = (args.size.0 / (VALUE as u64 + KEY)).max(1);
    let [count, length] = [keys, VALUE as u64].map(|number| number.to_string());
    admin.call(&["DEBUG", "POPULATE", &count, "key", &length])?;

    let mut rounds: Vec<(Mode, Round)> = Vec::new();
    let samples = runner::run_modes(&args.run, "redis", |mode| {
        let round = round(&mut admin, &mut client, &args.load, keys)?;
        let fork = round.fork;
        rounds.push((mode, round));
        Ok(fork)
    })?;
    // As the runner does: the first of each mode does not count.
    rounds.drain(..args.run.modes.len());

    let mut measured = vec![("redis fork".to_string(), samples)];
    for (phase, name) in PHASES.into_iter().enumerate() {
        for (quantile, share) in QUANTILES {
            let samples = args.run.modes.iter().map(|&mode| Sample {
                mode,
                times_ns: rounds
                    .iter()
                    .filter(|(of, _)| *of == mode)
                    .map(|(_, round)| round.phases[phase].value_at_quantile(share))
                    .collect(),
                counters: Vec::new(),
            });
            measured.push((format!("redis {name} {quantile}"), samples.collect()));
        }
    }
    let figures: Vec<_> = measured
        .iter()
        .map(|(bench, samples)| Figure { bench, samples })
        .collect();
    report_all(args.size, &args.run, &args.load, &figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client of a server that reads requests of two words, and answers each with what it is given.
    fn client(mut answer: impl FnMut(usize) -> &'static str + Send + 'static) -> Client {
        let (own, peer) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut lines = BufReader::new(peer.try_clone().unwrap()).lines();
            for number in 0.. {
                // A line tells the number of words; each has a line for its length.
                let Some(Ok(count)) = lines.next() else { break };
                let count: usize = count[1..].parse().unwrap();
                lines.by_ref().take(2 * count).for_each(drop);
                (&peer).write_all(answer(number).as_bytes()).unwrap();
            }
        });
        Client(BufReader::new(own))
    }

    #[test]
    fn reads_answers_of_all_kinds() {
        let answers = [
            "+OK\r\n",
            ":12\r\n",
            "$8\r\na:1\r\nb:2\r\n",
            "$-1\r\n",
            "-ERR no\r\n",
        ];
        let mut client = client(move |number| answers[number]);
        assert_eq!(client.call(&["SET", "key"]).unwrap(), "OK");
        assert_eq!(client.call(&["DBSIZE"]).unwrap(), "12");
        assert_eq!(client.info("stats", "b").unwrap(), 2);
        assert_eq!(client.call(&["GET", "none"]).unwrap(), "-1");
        assert!(client.call(&["BGSAVE"]).is_err());
    }

    #[test]
    fn a_stall_is_felt_by_all_requests_that_were_due() {
        let mut client = client(|number| {
            if number == 10 {
                thread::sleep(Duration::from_millis(200));
            }
            "+OK\r\n"
        });
        let load = Load {
            server: String::new(),
            rate: 1000,
            phase_ms: 1,
        };
        let stop = OnceLock::new();
        stop.set(Instant::now() + Duration::from_millis(400))
            .unwrap();
        let requests = send(&mut client, &load, 100, &stop).unwrap();

        assert!(requests.len() >= 390, "{}", requests.len());
        let late = |(_, latency): &&Request| *latency >= Duration::from_millis(100);
        assert!(requests.iter().filter(late).count() >= 90);
    }
}
