//! A fixed Nexmark stream as NDJSON files in the order of event time: 8 files for each kind of event.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;

/// How many files a kind of event is spread over: each holds a stretch of the stream.
pub const FILES: usize = 8;
/// 2015-07-15 00:00:00 UTC in milliseconds: the stream's begin.
const BASE_TIME_MS: u64 = 1_436_918_400_000;
/// The first auction's number.
const FIRST_AUCTION: usize = 1000;
/// Of the skewed stream one auction in so many is hot, and half of all bids go to hot ones.
const HOT_ONE_IN: usize = 100;

/// A kind of event: its name, and its columns with their SQL types.
pub struct Kind {
    pub name: &'static str,
    pub columns: &'static [(&'static str, &'static str)],
}

/// What a stream consists of.
pub const KINDS: [Kind; 3] = [
    Kind {
        name: "person",
        columns: &[
            ("id", "BIGINT"),
            ("name", "VARCHAR"),
            ("email_address", "VARCHAR"),
            ("credit_card", "VARCHAR"),
            ("city", "VARCHAR"),
            ("state", "VARCHAR"),
            ("date_time", "TIMESTAMP"),
            ("extra", "VARCHAR"),
        ],
    },
    Kind {
        name: "auction",
        columns: &[
            ("id", "BIGINT"),
            ("item_name", "VARCHAR"),
            ("description", "VARCHAR"),
            ("initial_bid", "BIGINT"),
            ("reserve", "BIGINT"),
            ("date_time", "TIMESTAMP"),
            ("expires", "TIMESTAMP"),
            ("seller", "BIGINT"),
            ("category", "BIGINT"),
            ("extra", "VARCHAR"),
        ],
    },
    Kind {
        name: "bid",
        columns: &[
            ("auction", "BIGINT"),
            ("bidder", "BIGINT"),
            ("price", "BIGINT"),
            ("channel", "VARCHAR"),
            ("url", "VARCHAR"),
            ("date_time", "TIMESTAMP"),
            ("extra", "VARCHAR"),
        ],
    },
];

impl Kind {
    /// The columns in Arrow's words.
    pub fn schema(&self) -> Schema {
        let fields = self.columns.iter().map(|(name, ty)| {
            let ty = match *ty {
                "BIGINT" => DataType::Int64,
                "VARCHAR" => DataType::Utf8,
                "TIMESTAMP" => DataType::Timestamp(TimeUnit::Microsecond, None),
                other => panic!("no kind has a {other}"),
            };
            Field::new(*name, ty, true)
        });
        Schema::new(fields.collect::<Vec<_>>())
    }
}

/// The files and what is in them.
#[derive(Clone)]
pub struct Files {
    pub folder: PathBuf,
    /// How many of the [`FILES`] of each kind are read, from the first on.
    pub read: usize,
    /// Lines of each of [`KINDS`] in the files of each number.
    lines: [[u64; 3]; FILES],
}

impl Files {
    /// Lines of these kinds.
    pub fn lines(&self, kinds: &[&str]) -> u64 {
        let of = |lines: &[u64; 3]| -> u64 {
            KINDS.iter().zip(lines).filter(|(kind, _)| kinds.contains(&kind.name)).map(|(_, n)| n).sum()
        };
        self.lines[..self.read].iter().map(of).sum()
    }

    /// Bytes of all kinds.
    pub fn bytes(&self) -> u64 {
        let paths = KINDS.iter().flat_map(|kind| (0..self.read).map(|index| path(&self.folder, kind.name, index)));
        paths.map(|path| std::fs::metadata(path).expect("a file").len()).sum()
    }

    /// Reads the files of these kinds, so that the kernel has them at hand.
    pub fn read_once(&self, kinds: &[&str]) {
        for kind in kinds {
            for index in 0..self.read {
                let mut file = File::open(path(&self.folder, kind, index)).expect("a file");
                std::io::copy(&mut file, &mut std::io::sink()).expect("a file that can be read");
            }
        }
    }

    /// The first half of the stream.
    pub fn half(&self) -> Files {
        Files { read: self.read / 2, ..self.clone() }
    }
}

/// The files of a stream of `events` events; made if they are not there. Of the `skewed` one half of the bids go to
/// one auction in a hundred of those opened so far (the plain one has hot auctions too, but each only for a while).
pub fn files(events: usize, skewed: bool) -> Files {
    let cache = std::env::var_os("MILLSTREAM_CACHE")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/millstream"));
    let kind = if skewed { "skewed" } else { "plain" };
    let folder = cache.join("bench").join(format!("nexmark-{kind}-{events}"));
    let count = folder.join("lines");
    if !count.exists() {
        std::fs::create_dir_all(&folder).expect("the cache is writable");
        let lines = generate(&folder, events, skewed);
        let lines = lines.map(|lines| lines.map(|n| n.to_string()).join(" "));
        std::fs::write(&count, lines.join("\n")).expect("the cache is writable");
    }
    let text = std::fs::read_to_string(&count).expect("just made");
    let numbers = |line: &str| {
        let numbers = line.split(' ').map(|n| n.parse().expect("a number"));
        numbers.collect::<Vec<u64>>().try_into().expect("a number for each kind")
    };
    let lines: Vec<[u64; 3]> = text.lines().map(numbers).collect();
    Files { lines: lines.try_into().expect("a line for each file"), read: FILES, folder }
}

/// File number `index` of a kind.
fn path(folder: &Path, kind: &str, index: usize) -> PathBuf {
    folder.join(kind).join(format!("{kind}-{index}.ndjson"))
}

fn generate(folder: &Path, events: usize, skewed: bool) -> [[u64; 3]; FILES] {
    eprintln!("making {events} Nexmark events in {}", folder.display());
    let config = NexmarkConfig { base_time: BASE_TIME_MS, ..NexmarkConfig::default() };
    let mut generator = EventGenerator::new(config);
    let (mut lines, mut auctions, mut bids) = ([[0u64; 3]; FILES], 0, 0u64);
    for kind in &KINDS {
        std::fs::create_dir_all(folder.join(kind.name)).expect("the cache is writable");
    }
    for (index, lines) in lines.iter_mut().enumerate() {
        let open = |kind: &Kind| {
            BufWriter::with_capacity(1 << 20, File::create(path(folder, kind.name, index)).expect("a new file"))
        };
        let mut files = KINDS.each_ref().map(open);
        let (begin, end) = (events * index / FILES, events * (index + 1) / FILES);
        for mut event in generator.by_ref().take(end - begin) {
            let place = match &mut event {
                Event::Person(_) => 0,
                Event::Auction(_) => {
                    auctions += 1;
                    1
                }
                Event::Bid(bid) => {
                    let hot = auctions / HOT_ONE_IN;
                    bids += 1;
                    if skewed && hot > 0 && bids % 2 == 0 {
                        let chosen = xxhash_rust::xxh3::xxh3_64(&bids.to_le_bytes()) as usize % hot;
                        bid.auction = FIRST_AUCTION + chosen * HOT_ONE_IN;
                    }
                    2
                }
            };
            write(&mut files[place], &event).expect("the disk has room");
            lines[place] += 1;
        }
        files.iter_mut().for_each(|file| file.flush().expect("the disk has room"));
    }
    lines
}

/// One line. Texts of the generator have nothing to escape.
fn write(out: &mut impl Write, event: &Event) -> std::io::Result<()> {
    let time = |ms: u64| {
        let time = chrono::DateTime::from_timestamp_millis(ms as i64).expect("a time of this century");
        time.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
    };
    match event {
        Event::Person(p) => writeln!(
            out,
            r#"{{"id":{},"name":"{}","email_address":"{}","credit_card":"{}","city":"{}","state":"{}","date_time":"{}","extra":"{}"}}"#,
            p.id,
            p.name,
            p.email_address,
            p.credit_card,
            p.city,
            p.state,
            time(p.date_time),
            p.extra
        ),
        Event::Auction(a) => writeln!(
            out,
            r#"{{"id":{},"item_name":"{}","description":"{}","initial_bid":{},"reserve":{},"date_time":"{}","expires":"{}","seller":{},"category":{},"extra":"{}"}}"#,
            a.id,
            a.item_name,
            a.description,
            a.initial_bid,
            a.reserve,
            time(a.date_time),
            time(a.expires),
            a.seller,
            a.category,
            a.extra
        ),
        Event::Bid(b) => writeln!(
            out,
            r#"{{"auction":{},"bidder":{},"price":{},"channel":"{}","url":"{}","date_time":"{}","extra":"{}"}}"#,
            b.auction,
            b.bidder,
            b.price,
            b.channel,
            b.url,
            time(b.date_time),
            b.extra
        ),
    }
}
