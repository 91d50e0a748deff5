use proptest::prelude::*;

use super::*;

/// Every kind of edit, most with the same rate.
fn every(rate: f64) -> Vec<Edit> {
    vec![
        Edit::WordsReplaced(rate),
        Edit::WordsInserted(rate),
        Edit::WordsDeleted(rate),
        Edit::Characters(rate),
        Edit::WordsSplit(rate),
        Edit::WordsJoined(rate),
        Edit::Lines(20),
        Edit::Pages(7),
        Edit::Numbers(rate),
        Edit::Names(rate),
        Edit::Quotation(5),
    ]
}

/// That the stretches cover both texts in order, and are equal where they say so.
fn check(text: &str, copy: &EditedCopy) {
    let (mut original, mut copied) = (0, 0);
    for stretch in &copy.alignment {
        assert_eq!((stretch.original.start, stretch.copy.start), (original, copied));
        let (old, new) = (&text[stretch.original.clone()], &copy.text[stretch.copy.clone()]);
        assert_eq!(stretch.edit.is_none(), old == new, "{old:?} and {new:?}");
        (original, copied) = (stretch.original.end, stretch.copy.end);
    }
    assert_eq!((original, copied), (text.len(), copy.text.len()));
}

/// Letters of several scripts, marks, ideographs, digits, spaces and symbols.
const HOSTILE: &str = "([a-cA-C0-9 .\n\u{301}\u{200D}\u{AD}中か한เก\u{E48}क\u{94D}م😀\u{FDFA}ßİ]{0,60})|(a{0,300})|(\\PC{0,40})";

proptest! {
    #[test]
    fn alignments_reproduce_any_text(text in HOSTILE, rate in 0.0..1.0_f64, key in any::<u64>(), foreign in HOSTILE) {
        let material = Material { words: &[], surroundings: &foreign };
        for edit in every(rate) {
            check(&text, &edited(&text, &[edit], &material, &[key]));
        }
        let all = edited(&text, &every(rate), &material, &[key]);
        check(&text, &all);
        prop_assert_eq!(all, edited(&text, &every(rate), &material, &[key]));
    }
}

/// Texts of some scripts, long enough for rates.
fn texts() -> Vec<String> {
    let mut sentences = vec![crate::corpus::passages(0, 60).join("\n")];
    for sentence in [
        "宜家的船在早晨离开了河边的小镇没有人知道它什么时候回来",
        "ยานพาหนะจอดอยู่ที่ท่าเรือตอนเช้าและไม่มีใครรู้ว่าจะกลับมาเมื่อไหร่",
        "Паром ушёл рано утром, и никто на пристани не знал, когда он вернётся. ",
        "नाव सुबह जल्दी चली गई और घाट पर कोई नहीं जानता था कि वह कब लौटेगी। ",
    ] {
        sentences.push(sentence.repeat(100));
    }
    sentences
}

/// How many stretches have this kind.
fn count(copy: &EditedCopy, kind: EditKind) -> usize {
    copy.alignment.iter().filter(|stretch| stretch.edit == Some(kind)).count()
}

#[test]
fn rates_are_met_on_every_script() {
    for text in texts() {
        let words = words(&text).len() as f64;
        assert!(words > 900.0, "{words} words in {:.40}", text);
        for edit in [Edit::WordsReplaced(0.1), Edit::WordsInserted(0.1), Edit::WordsDeleted(0.1)] {
            let copy = edited(&text, &[edit], &Material::default(), &[7]);
            check(&text, &copy);
            let deviation = (0.1 * 0.9 * words).sqrt();
            let found = count(&copy, edit.kind()) as f64;
            assert!(
                (found - 0.1 * words).abs() < 4.0 * deviation,
                "{edit:?}: {found} of {words} in {text:.40}"
            );
        }
        let letters = scan(&text).iter().map(|word| word.letters as f64).sum::<f64>();
        let copy = edited(&text, &[Edit::Characters(0.02)], &Material::default(), &[7]);
        let found = count(&copy, EditKind::Characters) as f64;
        assert!((found - 0.02 * letters).abs() < 4.0 * (0.02 * letters).sqrt(), "{found} of {letters}");
    }
}

#[test]
fn words_of_all_scripts() {
    let of = |text: &str| words(text).into_iter().map(|range| text[range].to_owned()).collect::<Vec<_>>();
    assert_eq!(of("Don't stop: 1,000 cafe\u{301}s!"), ["Don", "t", "stop", "1", "000", "cafe\u{301}s"]);
    assert_eq!(of("東京タワーへ行く2回"), ["東", "京", "タ", "ワ", "ー", "へ", "行", "く", "2", "回"]);
    assert_eq!(of("ยานพาหนะ"), ["ยานพา", "หนะ"]);
    assert_eq!(of(" \u{301}…😀"), [""; 0]);
}

#[test]
fn each_edit_does_what_it_says() {
    let text =
        "In the year 1987 the pilot met Berit Corvin by the old quay; there Berit sold him 24 lanterns.";
    let vocabulary = ["stone", "Verena"].map(str::to_owned);
    let material = Material { words: &vocabulary, surroundings: "" };
    let copy = |edit: Edit| edited(text, &[edit], &material, &[3]).text;
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (old, replaced) = (words(text), words(&copy(Edit::WordsReplaced(1.0))));
    assert_eq!(old.len(), replaced.len());
    assert!(old.iter().zip(&replaced).all(|(old, new)| old != new), "{replaced:?}");
    assert!(["Stone", "Verena"].contains(&replaced[0].as_str()));
    assert_eq!(words(&copy(Edit::WordsInserted(1.0))).len(), 2 * old.len());
    assert_eq!(copy(Edit::WordsDeleted(1.0)), ";.");
    assert_eq!(copy(Edit::WordsJoined(1.0)), text.replace(' ', "").replace(';', "; "));
    assert!(copy(Edit::WordsSplit(1.0)).contains("19 87"));
    assert_eq!(copy(Edit::Names(1.0)), text.replace("Berit", "Verena").replace("Corvin", "Verena"));
    let numbers = copy(Edit::Numbers(1.0));
    assert_eq!(numbers.len(), text.len());
    assert!(!numbers.contains("1987") && !numbers.contains("24") && numbers.starts_with("In the year "));
    let lines = copy(Edit::Lines(18));
    assert!(lines.lines().all(|line| line.chars().count() <= 19), "{lines}");
    assert_eq!(lines.replace("-\n", "").replace('\n', " "), text);
    assert!(lines.contains("-\n"));
    let pages = copy(Edit::Pages(6));
    let headers: Vec<&str> =
        pages.lines().filter(|line| line.contains("STONE") || line.contains("VERENA")).collect();
    assert!((2..=3).contains(&headers.len()), "{pages}");
    let quoted = edited(
        text,
        &[Edit::Quotation(4)],
        &Material { words: &[], surroundings: "one two three four" },
        &[5],
    );
    check(text, &quoted);
    let passage = quoted.alignment.iter().find(|stretch| stretch.edit.is_none()).unwrap();
    assert_eq!(super::words(&quoted.text[passage.copy.clone()]).len(), 4);
    assert!(
        quoted.text.starts_with("one two\n\n") && quoted.text.ends_with("\n\nthree four"),
        "{}",
        quoted.text
    );
    let misread = copy(Edit::Characters(1.0));
    assert!(!misread.contains("lanterns") && words(&misread).len() == old.len(), "{misread}");
}

#[test]
fn edits_are_independent_and_bytes_of_a_copy_are_found_in_the_original() {
    let text = crate::corpus::passage(5);
    let material = Material::default();
    let both = [Edit::WordsReplaced(0.1), Edit::Quotation(40)];
    let copy = edited(&text, &both, &material, &[1, 2]);
    check(&text, &copy);
    let replaced = edited(&text, &both[..1], &material, &[1, 2]);
    let (first, last) = (&copy.alignment[0], copy.alignment.last().unwrap());
    assert_eq!((first.edit, last.edit), (Some(EditKind::Quotation), Some(EditKind::Quotation)));
    // Within the passage the same words are replaced as without it.
    let passage = first.original.end..last.original.start;
    let within = |copy: &EditedCopy| {
        let replaced = copy.alignment.iter().filter(|stretch| stretch.edit == Some(EditKind::WordsReplaced));
        replaced
            .map(|stretch| stretch.original.clone())
            .filter(|range| passage.contains(&range.start))
            .collect()
    };
    let found: Vec<_> = within(&copy);
    assert!(found.len() > 1);
    assert_eq!(found, within(&replaced));
    for word in words(&copy.text) {
        if let Some(original) = copy.original(&word) {
            assert_eq!(text[original], copy.text[word]);
        }
    }
    let equal = words(&copy.text).iter().filter(|word| copy.original(word).is_some()).count();
    assert_eq!(equal, words(&text[passage]).len() - found.len());
    assert_ne!(edited(&text, &both, &material, &[1, 3]).text, copy.text);
}

/// The same on every machine: an edit that draws otherwise makes other copies of every corpus that was measured.
#[test]
fn copies_stay_the_same() {
    let text = "The ferry was late, and nobody on the lower quay had expected it to come at all.";
    let copy = |edit: Edit| edited(text, &[edit], &Material::default(), &[1]).text;
    assert_eq!(
        copy(Edit::WordsReplaced(0.2)),
        "The ferry was late, and nobody on the lower The had nobody it to expected at all."
    );
    assert_eq!(
        copy(Edit::Characters(0.1)),
        "The ferty vvas late, and nobody on the lowet quay had oxpccted it to come at all."
    );
}
