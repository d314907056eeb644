// Reads what stands around a request's statements: how the answer is to be written, and the token.

import Hummingbird

/// How an answer is to be written.
struct AnswerForm {
  let hasTimings: Bool
  let isPretty: Bool
  let isAssociative: Bool
  let blobsAsArrays: Bool

  init(_ query: QueryItems) {
    hasTimings = query.has("timings")
    isPretty = query.has("pretty")
    isAssociative = query.has("associative")
    blobsAsArrays = query.has("blob_array")
  }
}

enum TokenReading {
  private static let bearer = "bearer "

  /// The texts of the tokens, from `Fencing-Token` or `Authorization: Bearer`, each once. A field may hold several with
  /// commas between them, which is how proxies write a field that comes several times.
  ///
  /// Over bytes: a token is hundreds of them, and going through its characters cost more than the rest of a request.
  static func tokens(fencing: [String], authorization: [String]) -> [String] {
    var tokens: [String] = []
    for field in fencing { add(field, to: &tokens) }
    for field in authorization {
      let scheme = field.utf8.prefix(bearer.utf8.count)
      guard scheme.elementsEqual(bearer.utf8, by: { $0 | 0x20 == $1 }) else { continue }
      add(String(field.dropFirst(bearer.count)), to: &tokens)
    }
    return tokens
  }

  static func tokens(in headers: HTTPFields) -> [String] {
    tokens(fencing: headers[values: .fencingToken], authorization: headers[values: .authorization])
  }

  private static func add(_ field: String, to tokens: inout [String]) {
    let isOne = field.utf8.withContiguousStorageIfAvailable { utf8 in
      utf8.allSatisfy { $0 > UInt8(ascii: " ") && $0 != UInt8(ascii: ",") }
    }
    if isOne == true {
      if !tokens.contains(field) { tokens.append(field) }
      return
    }
    for part in field.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      let isBlank = { (byte: UInt8) in byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
      var token = part.drop(while: isBlank)
      while let last = token.last, isBlank(last) { token.removeLast() }
      let text = String(Substring(token))
      if !tokens.contains(text) { tokens.append(text) }
    }
  }
}

enum KeyReading {
  /// The client's name for the request, plain or as a string in quotes.
  static func idempotencyKey(in headers: HTTPFields) throws(Problem) -> String? {
    try idempotencyKey(headers[values: .idempotencyKey])
  }

  static func idempotencyKey(_ fields: [String]) throws(Problem) -> String? {
    guard let field = fields.first else { return nil }
    let isQuoted = field.count >= 2 && field.hasPrefix("\"") && field.hasSuffix("\"")
    let key = isQuoted ? String(field.dropFirst().dropLast()) : field
    let isVisible = key.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\"") }
    guard fields.count == 1, (1...RequestKey.maximumBytes).contains(key.utf8.count), isVisible else {
      throw Problem.badRequest(
        "Idempotency-Key is one text of 1 to \(RequestKey.maximumBytes) visible ASCII characters.")
    }
    return key
  }
}

enum TimeReading {
  /// Go's durations, as rqlite's clients write them: `500ms`, `1m30s`. Answers seconds.
  static func seconds(_ text: String) -> Double? {
    let units: [(name: String, seconds: Double)] = [
      ("ns", 1e-9), ("us", 1e-6), ("\u{b5}s", 1e-6), ("ms", 1e-3), ("s", 1), ("m", 60), ("h", 3600),
    ]
    var rest = text[...]
    var total = 0.0
    repeat {
      let digits = rest.prefix { ("0"..."9").contains($0) || $0 == "." }
      rest = rest.dropFirst(digits.count)
      let name = rest.prefix { !("0"..."9").contains($0) && $0 != "." }
      rest = rest.dropFirst(name.count)
      guard let amount = Double(digits), let unit = units.first(where: { $0.name == name }) else { return nil }
      total += amount * unit.seconds
    } while !rest.isEmpty
    return total > 0 && total < 1e9 ? total : nil
  }

  /// The shorter of the two limits that a request may ask for; infinity where it asks for none.
  static func timeoutSeconds(_ query: QueryItems) throws(Problem) -> Double {
    var shortest = Double.infinity
    for name in ["db_timeout", "timeout"] {
      for text in query.values(name) {
        guard let seconds = seconds(text) else {
          throw Problem.badRequest("\(name) is a time such as 500ms, 10s or 1m30s.")
        }
        shortest = min(shortest, seconds)
      }
    }
    return shortest
  }
}
