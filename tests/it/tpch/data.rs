//! Rows like those of TPC-H: its tables, keys, value ranges and word lists, from one seed, as CSV files.

use std::fmt::Write;
use std::path::Path;

use millstream::base::random::Random;

/// A table of the benchmark.
pub struct Table {
    pub name: &'static str,
    pub columns: &'static str,
    pub key: &'static str,
}

pub const TABLES: [Table; 8] = [
    Table { name: "region", columns: "r_regionkey INT, r_name VARCHAR, r_comment VARCHAR", key: "r_regionkey" },
    Table {
        name: "nation",
        columns: "n_nationkey INT, n_name VARCHAR, n_regionkey INT, n_comment VARCHAR",
        key: "n_nationkey",
    },
    Table {
        name: "supplier",
        columns: "s_suppkey INT, s_name VARCHAR, s_address VARCHAR, s_nationkey INT, s_phone VARCHAR, \
                  s_acctbal DECIMAL(15, 2), s_comment VARCHAR",
        key: "s_suppkey",
    },
    Table {
        name: "part",
        columns: "p_partkey INT, p_name VARCHAR, p_mfgr VARCHAR, p_brand VARCHAR, p_type VARCHAR, p_size INT, \
                  p_container VARCHAR, p_retailprice DECIMAL(15, 2), p_comment VARCHAR",
        key: "p_partkey",
    },
    Table {
        name: "partsupp",
        columns: "ps_partkey INT, ps_suppkey INT, ps_availqty INT, ps_supplycost DECIMAL(15, 2), ps_comment VARCHAR",
        key: "ps_partkey, ps_suppkey",
    },
    Table {
        name: "customer",
        columns: "c_custkey INT, c_name VARCHAR, c_address VARCHAR, c_nationkey INT, c_phone VARCHAR, \
                  c_acctbal DECIMAL(15, 2), c_mktsegment VARCHAR, c_comment VARCHAR",
        key: "c_custkey",
    },
    Table {
        name: "orders",
        columns: "o_orderkey INT, o_custkey INT, o_orderstatus VARCHAR, o_totalprice DECIMAL(15, 2), o_orderdate DATE, \
                  o_orderpriority VARCHAR, o_clerk VARCHAR, o_shippriority INT, o_comment VARCHAR",
        key: "o_orderkey",
    },
    Table {
        name: "lineitem",
        columns: "l_orderkey INT, l_partkey INT, l_suppkey INT, l_linenumber INT, l_quantity DECIMAL(15, 2), \
                  l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(15, 2), l_tax DECIMAL(15, 2), l_returnflag VARCHAR, \
                  l_linestatus VARCHAR, l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct VARCHAR, \
                  l_shipmode VARCHAR, l_comment VARCHAR",
        key: "l_orderkey, l_linenumber",
    },
];

const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];
const NATIONS: [(&str, usize); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];
const COLORS: [&str; 12] =
    ["almond", "azure", "blush", "chocolate", "forest", "green", "ivory", "lemon", "navy", "puff", "rose", "snow"];
const TYPES: [[&str; 6]; 3] = [
    ["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"],
    ["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED", "PLATED"],
    ["TIN", "NICKEL", "BRASS", "STEEL", "COPPER", "BRASS"],
];
const CONTAINERS: [&str; 8] = ["SM CASE", "SM BOX", "MED BAG", "MED BOX", "LG CASE", "LG BOX", "JUMBO PKG", "WRAP JAR"];
const SEGMENTS: [&str; 5] = ["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"];
const PRIORITIES: [&str; 5] = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
const INSTRUCTIONS: [&str; 4] = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];
const MODES: [&str; 7] = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
const COMMENTS: [&str; 6] = [
    "carefully final deposits",
    "special packages wake requests",
    "quick Customer ideas Complaints",
    "furious pinto beans",
    "regular accounts",
    "special theodolites sleep requests above",
];

/// How many orders there are at `scale`.
pub fn orders(scale: f64) -> u64 {
    (1_500_000.0 * scale) as u64
}

fn pick<'a>(random: &mut Random, words: &[&'a str]) -> &'a str {
    random.pick(words).copied().unwrap_or_default()
}

fn cents(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", value.abs() / 100, value.abs() % 100)
}

/// The day `number` days after 1992-01-01.
fn day(number: i64) -> String {
    let first = chrono::NaiveDate::from_ymd_opt(1992, 1, 1).unwrap();
    (first + chrono::Duration::days(number)).format("%Y-%m-%d").to_string()
}

fn phone(random: &mut Random, nation: u64) -> String {
    let mut part = |low, high| random.between(low, high);
    format!("{}-{}-{}-{}", nation + 10, part(100, 999), part(100, 999), part(1000, 9999))
}

/// Writes all tables into `folder`.
pub fn write(folder: &Path, scale: f64) {
    let random = &mut Random::new(7);
    let count = |base: f64| ((base * scale) as u64).max(4);
    let (suppliers, parts, customers) = (count(10_000.0), count(200_000.0), count(150_000.0));
    let save = |name: &str, rows: String| {
        let table = TABLES.iter().find(|table| table.name == name).unwrap();
        // Commas stand in DECIMAL(15, 2) too: names of columns are the first words behind them that begin in lower case.
        let columns = table.columns.split(", ").map(|column| column.split(' ').next().unwrap());
        let header: Vec<&str> = columns.filter(|word| word.contains('_')).collect();
        std::fs::write(folder.join(format!("{name}.csv")), format!("{}\n{rows}", header.join(","))).unwrap();
    };
    let mut rows = String::new();
    for (key, name) in REGIONS.iter().enumerate() {
        writeln!(rows, "{key},{name},{}", pick(random, &COMMENTS)).unwrap();
    }
    save("region", std::mem::take(&mut rows));
    for (key, (name, region)) in NATIONS.iter().enumerate() {
        writeln!(rows, "{key},{name},{region},{}", pick(random, &COMMENTS)).unwrap();
    }
    save("nation", std::mem::take(&mut rows));
    for key in 1..=suppliers {
        let (nation, balance) = (random.below(25), cents(random.between(-99_999, 999_999)));
        let (phone, comment) = (phone(random, nation), pick(random, &COMMENTS));
        writeln!(rows, "{key},Supplier#{key:09},street {key},{nation},{phone},{balance},{comment}").unwrap();
    }
    save("supplier", std::mem::take(&mut rows));
    for key in 1..=parts {
        let (one, two) = (pick(random, &COLORS), pick(random, &COLORS));
        let maker = random.between(1, 5);
        let brand = maker * 10 + random.between(1, 5);
        let ty = TYPES.map(|words| pick(random, &words)).join(" ");
        let (size, container) = (random.between(1, 50), pick(random, &CONTAINERS));
        let price = cents(90_000 + (key as i64 / 10) % 20_001 + 100 * (key as i64 % 1000));
        let comment = pick(random, &COMMENTS);
        writeln!(
            rows,
            "{key},{one} {two},Manufacturer#{maker},Brand#{brand},{ty},{size},{container},{price},{comment}"
        )
        .unwrap();
    }
    save("part", std::mem::take(&mut rows));
    for part in 1..=parts {
        for nth in 0..4u64 {
            let supplier = (part + nth * (suppliers / 4).max(1)) % suppliers + 1;
            let (quantity, cost) = (random.between(1, 9999), cents(random.between(100, 100_000)));
            writeln!(rows, "{part},{supplier},{quantity},{cost},{}", pick(random, &COMMENTS)).unwrap();
        }
    }
    save("partsupp", std::mem::take(&mut rows));
    for key in 1..=customers {
        let (nation, balance) = (random.below(25), cents(random.between(-99_999, 999_999)));
        let (phone, segment, comment) = (phone(random, nation), pick(random, &SEGMENTS), pick(random, &COMMENTS));
        writeln!(rows, "{key},Customer#{key:09},street {key},{nation},{phone},{balance},{segment},{comment}").unwrap();
    }
    save("customer", std::mem::take(&mut rows));
    let (orders, lines) = sales(random, orders(scale), parts, suppliers, customers);
    save("orders", orders);
    save("lineitem", lines);
}

fn sales(random: &mut Random, orders: u64, parts: u64, suppliers: u64, customers: u64) -> (String, String) {
    let (mut heads, mut lines) = (String::new(), String::new());
    for order in 1..=orders {
        // A third of the customers never order.
        let customer = random.below(customers) / 3 * 3 + 1 + random.below(2);
        let customer = customer.min(customers);
        let ordered = random.between(0, 2405);
        let (mut total, mut open) = (0, 0);
        let count = random.between(1, 7);
        for line in 1..=count {
            let part = random.below(parts) + 1;
            let supplier = (part + random.below(4) * (suppliers / 4).max(1)) % suppliers + 1;
            let quantity = random.between(1, 50);
            let price = quantity * (90_000 + (part as i64 / 10) % 20_001 + 100 * (part as i64 % 1000));
            let (discount, tax) = (random.between(0, 10), random.between(0, 8));
            let shipped = ordered + random.between(1, 121);
            let (committed, received) = (ordered + random.between(30, 90), shipped + random.between(1, 30));
            // Today is 1995-06-17.
            let returned = if received <= 1263 { pick(random, &["R", "A"]) } else { "N" };
            let status = if shipped > 1263 { "O" } else { "F" };
            open += i64::from(status == "O");
            total += price * (100 - discount) / 100;
            let (instruction, mode, comment) =
                (pick(random, &INSTRUCTIONS), pick(random, &MODES), pick(random, &COMMENTS));
            writeln!(
                lines,
                "{order},{part},{supplier},{line},{quantity},{},{},{},{returned},{status},{},{},{},{instruction},{mode},{comment}",
                cents(price),
                cents(discount),
                cents(tax),
                day(shipped),
                day(committed),
                day(received)
            )
            .unwrap();
        }
        let status = if open == 0 {
            "F"
        } else if open == count {
            "O"
        } else {
            "P"
        };
        let (priority, comment) = (pick(random, &PRIORITIES), pick(random, &COMMENTS));
        writeln!(
            heads,
            "{order},{customer},{status},{},{},{priority},Clerk#{:09},0,{comment}",
            cents(total),
            day(ordered),
            random.below(100)
        )
        .unwrap();
    }
    (heads, lines)
}
