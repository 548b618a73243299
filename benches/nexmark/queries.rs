//! The queries: those of `sql-tests/nexmark`, with windows of the lengths that the benchmark's description has, and the
//! same as batch queries in DataFusion's words.

use std::path::Path;

use super::events::KINDS;

/// One line of the table.
pub struct Query {
    pub name: String,
    /// Ours, without CREATE …: a sink's or a view's query.
    pub ours: String,
    /// Whether ours goes into a view, and theirs is collected; else a blackhole sink, and theirs is dropped as it comes.
    pub into_view: bool,
    /// None: no batch query says the same.
    pub theirs: Option<String>,
    pub checkpoints: bool,
    /// What both must hold equally, ours and theirs; None: they may differ.
    pub compared: Option<(String, String)>,
    /// Kinds of events that are read.
    pub kinds: Vec<&'static str>,
}

const PASS: &str = "SELECT * FROM bid";
const FILTER: &str = "SELECT auction, bidder, price, date_time FROM bid WHERE auction % 123 = 0";
const TUMBLE: &str = "SELECT window_start, auction, count(*) AS bids, max(price) AS top \
                      FROM TUMBLE(bid, date_time, INTERVAL '10 seconds') GROUP BY window_start, auction";
const BINNED: &str = "SELECT date_bin(INTERVAL '10 seconds', date_time) AS window_start, auction, count(*) AS bids, \
                      max(price) AS top FROM bid GROUP BY 1, 2";
/// A row that tells any two sets of bids apart for our purpose, where a hash of all columns would be our code.
const SUMMARY: &str = "SELECT count(*) AS n, sum(auction) AS a, sum(bidder) AS b, max(price) AS p, \
                       max(date_time) AS d, max(channel) AS c, max(url) AS u, max(extra) AS e FROM bid";

/// The numbers of `sql-tests/nexmark`.
const NUMBERS: [u32; 31] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 101, 102, 103, 104, 105, 106,
    107,
];

/// The scripts have windows for a stream of less than a second; the benchmark's are of ten.
const LENGTHS: [(&str, &str); 3] = [
    ("INTERVAL '100 milliseconds', INTERVAL '500 milliseconds'", "INTERVAL '2 seconds', INTERVAL '10 seconds'"),
    ("INTERVAL '100 milliseconds'", "INTERVAL '10 seconds'"),
    ("INTERVAL '10 milliseconds'", "INTERVAL '10 seconds'"),
];

/// What DataFusion says otherwise.
const WORDS: [(&str, &str); 3] = [
    ("'YYYY-MM-DD'", "'%Y-%m-%d'"),
    ("'HH24:MI'", "'%H:%M'"),
    (
        "HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')",
        "(SELECT auction, window_start, window_start + INTERVAL '10 seconds' AS window_end FROM (SELECT auction, \
         unnest(make_array(w, w - INTERVAL '2 seconds', w - INTERVAL '4 seconds', w - INTERVAL '6 seconds', \
         w - INTERVAL '8 seconds')) AS window_start FROM (SELECT auction, date_bin(INTERVAL '2 seconds', date_time) AS w \
         FROM bid) binned) hops)",
    ),
];

const SESSIONS: &str = "SELECT bidder, count(*) AS bid_count, min(date_time) AS window_start, \
    max(date_time) + INTERVAL '10 seconds' AS window_end FROM (SELECT bidder, date_time, \
    sum(fresh) OVER (PARTITION BY bidder ORDER BY date_time) AS session FROM (SELECT bidder, date_time, \
    CASE WHEN date_time - lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time) <= INTERVAL '10 seconds' \
    THEN 0 ELSE 1 END AS fresh FROM bid) gaps) numbered GROUP BY bidder, session";
const PERCENTILES: &str = "SELECT s[CAST(ceil(0.01 * n) AS BIGINT)] AS p01, s[CAST(ceil(0.1 * n) AS BIGINT)] AS p10, \
    s[CAST(ceil(0.5 * n) AS BIGINT)] AS p50, s[CAST(ceil(0.9 * n) AS BIGINT)] AS p90, \
    s[CAST(ceil(0.99 * n) AS BIGINT)] AS p99 \
    FROM (SELECT array_agg(price ORDER BY price) AS s, count(*) AS n FROM bid) sorted";

/// The lines of the skeleton's figure, then every query of Nexmark.
pub fn all() -> Vec<Query> {
    let closed = format!("{TUMBLE} EMIT ON WINDOW CLOSE");
    let mut queries = vec![
        plain("pass-through", PASS, PASS, false, false),
        plain("pass-through, checkpoints", PASS, PASS, false, true),
        plain("filter", FILTER, FILTER, false, false),
        plain("filter, checkpoints", FILTER, FILTER, false, true),
        plain("tumble", TUMBLE, BINNED, true, false),
        plain("tumble, checkpoints", TUMBLE, BINNED, true, true),
        plain("tumble, on window close", &closed, BINNED, true, false),
    ];
    queries.extend(NUMBERS.map(nexmark));
    queries
}

fn plain(name: &str, ours: &str, theirs: &str, into_view: bool, checkpoints: bool) -> Query {
    let compared = if ours == PASS { (SUMMARY, SUMMARY) } else { (ours, theirs) };
    Query {
        name: name.to_owned(),
        ours: ours.to_owned(),
        into_view,
        theirs: Some(theirs.to_owned()),
        checkpoints,
        compared: (!checkpoints).then(|| (compared.0.to_owned(), compared.1.to_owned())),
        kinds: vec!["bid"],
    }
}

fn nexmark(number: u32) -> Query {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("sql-tests/nexmark/q{number}.sql"));
    let text = std::fs::read_to_string(&path).expect("a script of the benchmark");
    let (notes, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("--"));
    let note = |name| notes.iter().find_map(|line| line.strip_prefix(name));
    let mut ours = lines.join("\n");
    LENGTHS.iter().for_each(|(from, to)| ours = ours.replace(from, to));
    let theirs = match number {
        11 => SESSIONS.to_owned(),
        107 => PERCENTILES.to_owned(),
        _ => note("-- batch: ").map_or_else(|| in_batch(&ours), str::to_owned),
    };
    let compared = note("-- view: ").is_none().then(|| (ours.clone(), theirs.clone()));
    let reads = |name: &str| {
        let names = ours.split(|c: char| !c.is_alphanumeric() && c != '_');
        names.collect::<Vec<_>>().contains(&name)
    };
    // `auction` is also a column: only a query that reads its `item_name` or `category` or `seller` reads the auctions.
    let kinds = KINDS.iter().map(|kind| kind.name).filter(|kind| match *kind {
        "auction" => ["auction a", "TUMBLE(auction"].iter().any(|text| ours.contains(text)),
        other => reads(other),
    });
    Query {
        name: format!("q{number}"),
        kinds: kinds.collect(),
        ours,
        into_view: false,
        theirs: Some(theirs),
        checkpoints: false,
        compared,
    }
}

/// Our query as a batch query of DataFusion.
fn in_batch(ours: &str) -> String {
    let mut text = ours.to_owned();
    WORDS.iter().for_each(|(from, to)| text = text.replace(from, to));
    for kind in &KINDS {
        let name = kind.name;
        let tumble = format!("TUMBLE({name}, date_time, INTERVAL '10 seconds')");
        let binned = format!(
            "(SELECT *, date_bin(INTERVAL '10 seconds', date_time) AS window_start, \
             date_bin(INTERVAL '10 seconds', date_time) + INTERVAL '10 seconds' AS window_end FROM {name})"
        );
        text = text.replace(&tumble, &binned);
    }
    text
}
