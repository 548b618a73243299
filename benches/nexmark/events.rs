//! The bids of a fixed Nexmark stream, as NDJSON files in the order of event time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;

/// How many files the bids are spread over: each holds a stretch of the stream.
pub const FILES: usize = 8;
/// 2015-07-15 00:00:00 UTC in milliseconds: the stream's begin.
const BASE_TIME_MS: u64 = 1_436_918_400_000;

/// The files and what is in them.
pub struct Files {
    pub folder: PathBuf,
    pub lines: u64,
    pub bytes: u64,
}

/// The files of a stream of `events` events; made if they are not there.
pub fn files(events: usize) -> Files {
    let cache = std::env::var_os("MILLSTREAM_CACHE")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/millstream"));
    let folder = cache.join("bench").join(format!("nexmark-bids-{events}"));
    let count = folder.join("lines");
    if !count.exists() {
        std::fs::create_dir_all(&folder).expect("the cache is writable");
        let lines = generate(&folder, events);
        std::fs::write(&count, lines.to_string()).expect("the cache is writable");
    }
    let lines = std::fs::read_to_string(&count).expect("just made").parse().expect("a number");
    let size = |index| std::fs::metadata(path(&folder, index)).expect("a file of bids").len();
    Files { lines, bytes: (0..FILES).map(size).sum(), folder }
}

/// File number `index`.
pub fn path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("bids-{index}.ndjson"))
}

fn generate(folder: &Path, events: usize) -> u64 {
    eprintln!("making {events} Nexmark events in {}", folder.display());
    let config = NexmarkConfig { base_time: BASE_TIME_MS, ..NexmarkConfig::default() };
    let mut generator = EventGenerator::new(config);
    let mut lines = 0;
    for index in 0..FILES {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path(folder, index)).expect("a new file"));
        let begin = events * index / FILES;
        let end = events * (index + 1) / FILES;
        for event in generator.by_ref().take(end - begin) {
            let Event::Bid(bid) = event else { continue };
            let time = chrono::DateTime::from_timestamp_millis(bid.date_time as i64).expect("a time of this century");
            let time = time.format("%Y-%m-%dT%H:%M:%S%.3f");
            writeln!(
                file,
                r#"{{"auction":{},"bidder":{},"price":{},"channel":"{}","url":"{}","date_time":"{time}","extra":"{}"}}"#,
                bid.auction, bid.bidder, bid.price, bid.channel, bid.url, bid.extra
            )
            .expect("the disk has room");
            lines += 1;
        }
        file.flush().expect("the disk has room");
    }
    lines
}
