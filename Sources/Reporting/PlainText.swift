// Owns what of a text of others is shown as it is. A result holds names of files, answers of a target and names of
// machines, and who reads a report looks at them on a terminal or in a browser.
//
// It must never let such a text act: move a cursor, clear a screen, or turn the direction of what stands beside it.

/// Text of others without what acts instead of being read.
enum PlainText {
  private static let replacement: Unicode.Scalar = "\u{FFFD}"

  /// The scalar, or a visible mark in its place: control characters move a terminal's cursor and are not allowed in XML,
  /// and the overrides of writing direction show a word in another order than it has.
  static func shown(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
    switch scalar.value {
    case 0x202A...0x202E, 0x2066...0x2069: return replacement
    case let value where value & 0xFFFE == 0xFFFE: return replacement
    default: return scalar.properties.generalCategory == .control ? replacement : scalar
    }
  }

  /// One line for a terminal.
  static func line(_ text: String) -> String {
    var line = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\n", "\t", "\r", "\u{2028}", "\u{2029}": line += " "
      default: line.unicodeScalars.append(shown(scalar))
      }
    }
    return line
  }
}
