//! The nearest known name to one that is not known: every "does not exist" offers it.

/// The candidate that a writer of `name` most likely meant: equal but for case, or within a third of its letters in
/// edits (Damerau-Levenshtein). Of equally near ones the first.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(1);
    let distances = candidates.into_iter().map(|candidate| {
        let known = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&wanted, &known);
        (distance, candidate)
    });
    distances.filter(|&(distance, _)| distance <= allowed).min_by_key(|&(distance, _)| distance).map(|(_, name)| name)
}

/// The hint `Did you mean "x"?` for the nearest candidate, if one is near.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("Did you mean \"{candidate}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_offers_only_what_is_near() {
        let known = ["listen", "data_dir", "workers"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("DATA_DIR", known), Some("data_dir"));
        assert_eq!(nearest("datadri", known), Some("data_dir"));
        assert_eq!(nearest("zebra", known), None);
        assert_eq!(nearest("", known), None);
    }
}
