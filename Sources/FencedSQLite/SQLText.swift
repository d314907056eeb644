// A text of SQL, as dumps are, cut into its statements while it is read.
//
// Must never cut where SQLite would not: the ends are those of sqlite3_complete() (sqlite.org/c3ref/complete.html), found
// in one pass, whatever is in the text.

struct SQLText {
  struct Piece: Equatable {
    let text: String
    /// Its first words in lower case, without quotes, up to the first parenthesis or string.
    let words: [String]
  }

  struct TooLong: Error {}

  private enum Place: Equatable {
    case open
    case quoted(by: UInt8)
    case lineComment
    case blockComment
  }

  /// How far the end of a trigger has come: `;`, then `END`, then `;`.
  private enum TriggerEnd { case none, semicolon, end }

  private let limit: Int
  private var bytes: [UInt8] = []
  private var place = Place.open
  private var word: [UInt8] = []
  private var words: [String] = []
  private var takesWords = true
  private var hasContent = false
  private var triggerEnd = TriggerEnd.none
  private var previous: UInt8 = 0

  /// - Parameter limit: of one statement, in bytes.
  init(limit: Int) { self.limit = limit }

  /// Takes more of the text, and gives the statements that are whole by now.
  mutating func add(_ more: [UInt8]) throws(TooLong) -> [Piece] {
    var pieces: [Piece] = []
    for byte in more {
      bytes.append(byte)
      guard bytes.count <= limit else { throw TooLong() }
      if step(byte), let piece = cut() { pieces.append(piece) }
    }
    return pieces
  }

  /// What stands behind the last semicolon, if it is more than white space and comments.
  mutating func finish() -> Piece? {
    endWord()
    return cut()
  }

  private mutating func cut() -> Piece? {
    defer {
      bytes.removeAll(keepingCapacity: true)
      words = []
      takesWords = true
      hasContent = false
      triggerEnd = .none
    }
    return hasContent ? Piece(text: String(decoding: bytes, as: UTF8.self), words: words) : nil
  }

  private static let mostWords = 10

  private var isTrigger: Bool {
    var rest = words[...]
    if rest.first == "explain" { rest = rest.dropFirst() }
    guard rest.popFirst() == "create" else { return false }
    if rest.first == "temp" || rest.first == "temporary" { rest = rest.dropFirst() }
    return rest.first == "trigger"
  }

  /// Answers whether the statement ends with this byte.
  private mutating func step(_ byte: UInt8) -> Bool {
    defer { previous = byte }
    switch place {
    case .lineComment:
      if byte == UInt8(ascii: "\n") { place = .open }
      return false
    case .blockComment:
      if byte == UInt8(ascii: "/"), previous == UInt8(ascii: "*") { place = .open }
      return false
    case .quoted(let quote):
      // A quote that is written twice ends here and begins again with the next byte, which comes to the same.
      if byte == quote {
        place = .open
        if quote != UInt8(ascii: "'") { endWord() } else { word = [] }
      } else {
        word.append(byte)
        if word.count > 256 { word.removeAll(keepingCapacity: true) }
      }
      return false
    case .open: return stepInTheOpen(byte)
    }
  }

  private mutating func stepInTheOpen(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "$"), 0x80...0xFF:
      if word.count < 256 { word.append(byte) }
      return false
    default: endWord()
    }
    switch byte {
    case UInt8(ascii: ";"): return isEnd()
    case UInt8(ascii: "-") where previous == UInt8(ascii: "-"): place = .lineComment
    case UInt8(ascii: "*") where previous == UInt8(ascii: "/"):
      place = .blockComment
      previous = 0
    // The first half of a comment, perhaps; where it is none it is an operator, and no statement begins with one.
    case UInt8(ascii: "-"), UInt8(ascii: "/"): break
    case 0x20, 0x09, 0x0A, 0x0C, 0x0D: break
    case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "`"), UInt8(ascii: "["):
      if byte == UInt8(ascii: "'") { takesWords = false }
      token()
      place = .quoted(by: byte == UInt8(ascii: "[") ? UInt8(ascii: "]") : byte)
    default:
      if byte != UInt8(ascii: ".") { takesWords = false }
      token()
    }
    return false
  }

  private mutating func token() {
    hasContent = true
    triggerEnd = .none
  }

  private mutating func endWord() {
    guard !word.isEmpty else { return }
    let text = String(decoding: word, as: UTF8.self).lowercased()
    word.removeAll(keepingCapacity: true)
    let isEndOfTrigger = triggerEnd == .semicolon && text == "end"
    token()
    if isEndOfTrigger { triggerEnd = .end }
    guard takesWords, words.count < Self.mostWords else { return }
    words.append(text)
  }

  private mutating func isEnd() -> Bool {
    guard isTrigger else { return true }
    if triggerEnd == .end { return true }
    triggerEnd = .semicolon
    return false
  }
}

extension SQLText.Piece {
  /// Whether it only frames a dump: a load is one transaction of its own.
  var isFrame: Bool {
    switch words.first {
    case "begin", "commit", "end": true
    case "pragma": words.dropFirst().first == "foreign_keys"
    default: false
    }
  }

  /// Whether it makes or fills one of the gateway's own tables, as a dump of a database under protection does.
  var isOfFence: Bool {
    var rest = words[...]
    switch rest.popFirst() {
    case "create": break
    case "insert": guard rest.popFirst() == "into" else { return false }
    default: return false
    }
    rest = rest.drop { ["unique", "table", "index", "if", "not", "exists", "main"].contains($0) }
    return rest.first.map(SQLRules.isReserved) ?? false
  }
}
