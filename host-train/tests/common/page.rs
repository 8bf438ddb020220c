//! What must hold of every HTML page that the tool writes.

use roxmltree::{Document, Node, ParsingOptions};

/// Checks that a page is well-formed, that its equations are complete MathML,
/// that symbols need no combining characters, which fonts misplace, and that
/// Chinese text is marked as such.
pub fn well_set(page: &str) {
    assert!(
        !page.contains("<mover") || page.contains("mover > mo { padding-bottom:"),
        "accents touch their letters where there is no mathematical font"
    );
    let options = ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    let page = Document::parse_with_options(page, options);
    let page = page.unwrap_or_else(|error| panic!("not well-formed: {error}"));
    for node in page.descendants() {
        if node.is_element() {
            math(node);
        }
        let attributes = node.attributes().map(|attribute| attribute.value());
        let own = node.is_text().then(|| node.text().unwrap_or_default());
        for text in attributes.chain(own) {
            assert!(!text.contains(combining), "a combining character: {text}");
            assert!(!text.contains("$$"), "an equation left as it was: {text}");
            let marked = |node: Node<'_, '_>| node.attribute("lang") == Some("zh");
            assert!(
                !text.contains(chinese) || node.is_text() && node.ancestors().any(marked),
                "Chinese outside of lang=\"zh\": {text}"
            );
        }
    }
}

/// An element of MathML has as many children as it must have.
fn math(node: Node<'_, '_>) {
    let children = node.children().filter(Node::is_element).count();
    let expected = match node.tag_name().name() {
        "mfrac" | "msub" | "msup" | "mover" | "munder" | "mroot" => 2,
        "msubsup" | "munderover" => 3,
        "math" => {
            assert!(children > 0, "an empty equation");
            return;
        }
        "merror" => panic!("an equation with an error"),
        _ => return,
    };
    assert_eq!(children, expected, "children of {:?}", node.tag_name());
}

fn combining(c: char) -> bool {
    matches!(
        c,
        '\u{300}'..='\u{36f}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{fe20}'..='\u{fe2f}'
    )
}

fn chinese(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{303f}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}
