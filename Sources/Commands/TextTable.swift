// Lists as every command shows them: a table for people, JSON for programs.

import Foundation

/// Columns that line up, with two spaces between them and none at a line's end.
package struct TextTable {
  private let heading: [String]
  private var rows: [[String]] = []

  /// - Parameter heading: of each column, in capitals.
  package init(_ heading: String...) { self.heading = heading }

  package init(_ heading: [String]) { self.heading = heading }

  /// - Parameter cells: as many as there are columns. One that is empty is shown as a dash.
  package mutating func add(_ cells: String...) { add(cells) }

  package mutating func add(_ cells: [String]) {
    precondition(cells.count == heading.count, "a row has \(cells.count) cells and the table \(heading.count) columns")
    rows.append(cells.map { $0.isEmpty ? "-" : TerminalText.clean($0) })
  }

  /// Without a line break at its end.
  package var text: String {
    let all = [heading] + rows
    let widths = heading.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.map { row in
      var line = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      return line
    }.joined(separator: "\n")
  }
}

package enum TerminalText {
  /// What others have named or written may hold control characters, which a terminal would obey: they are shown instead.
  package static func clean(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    return text.unicodeScalars.map { scalar in
      switch scalar {
      case "\n": "\\n"
      case "\t": "\\t"
      case "\r": "\\r"
      case _ where isControl(scalar): "\\u{\(String(scalar.value, radix: 16))}"
      default: String(scalar)
      }
    }.joined()
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.generalCategory == .control }

  /// 6.3 s, 1 m 40 s: what is left of something, or how long it takes.
  package static func length(_ duration: Duration) -> String {
    let milliseconds = max(
      0, duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000)
    let seconds = milliseconds / 1000
    if seconds < 60 { return "\(seconds).\(milliseconds % 1000 / 100)s" }
    if seconds < 3600 { return "\(seconds / 60)m\(seconds % 60)s" }
    return "\(seconds / 3600)h\(seconds % 3600 / 60)m"
  }
}

package enum JSONOutput {
  /// Indented, keys in order.
  package static func pretty(_ value: some Encodable) throws -> String {
    try encoded(value, [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
  }

  /// One line, keys in order.
  package static func line(_ value: some Encodable) throws -> String {
    try encoded(value, [.sortedKeys, .withoutEscapingSlashes])
  }

  private static func encoded(_ value: some Encodable, _ formatting: JSONEncoder.OutputFormatting) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = formatting
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}

/// Bytes that are text most of the time: `text` where they are UTF-8, else `base64`.
package struct TextOrBytes: Encodable {
  package let text: String?
  package let base64: String?

  package init(_ bytes: [UInt8]) {
    text = String(validating: bytes, as: UTF8.self)
    base64 = text == nil ? Data(bytes).base64EncodedString() : nil
  }

  /// For people: bytes that are no text in hexadecimal.
  package static func shown(_ bytes: [UInt8]) -> String {
    if let text = String(validating: bytes, as: UTF8.self) { return TerminalText.clean(text) }
    return "0x" + bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }
}
