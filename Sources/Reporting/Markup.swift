// Owns the writing of markup: elements that are always closed, and text that is always escaped.
//
// It must never let a word of a result become markup. An error message was written by whoever answered the load, and
// a report is opened by somebody who trusts it. So there is no way from a `String` into a page but through the
// escaping, and only literals of this room name elements or hold a style sheet.
//
// Invariant: what is written is well-formed XML and the same page to an HTML parser.

/// A piece of a page.
struct Markup: Sendable, Equatable {
  let source: String

  private init(source: String) {
    self.source = source
  }

  /// An element with its attributes in the order given.
  init(_ name: StaticString, _ attributes: KeyValuePairs<StaticString, String> = [:], _ children: [Markup] = []) {
    var text = "<\(name)"
    for (key, value) in attributes { text += " \(key)=\"\(Self.escaped(value))\"" }
    // HTML knows a few elements without an end; all others get theirs, since HTML ignores the slash of `<p/>`.
    if "\(name)" == "meta" {
      source = text + " />"
      return
    }
    text += ">"
    for child in children { text += child.source }
    source = text + "</\(name)>"
  }

  /// An element that holds text only.
  init(_ name: StaticString, _ attributes: KeyValuePairs<StaticString, String> = [:], text: String) {
    self.init(name, attributes, [.text(text)])
  }

  static func text(_ text: String) -> Markup { Markup(source: escaped(text)) }

  /// A style sheet. It is taken as it stands, so it must not hold `<` or `&`.
  static func style(_ sheet: StaticString) -> Markup { Markup(source: "<style>\(sheet)</style>") }

  /// A whole document around its root.
  static func document(_ root: Markup) -> String { "<!DOCTYPE html>\n\(root.source)\n" }

  private static func escaped(_ text: String) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      case "\"": escaped += "&quot;"
      case "'": escaped += "&#39;"
      case "\n", "\t": escaped.unicodeScalars.append(scalar)
      default: escaped.unicodeScalars.append(PlainText.shown(scalar))
      }
    }
    return escaped
  }
}
