// Owns the look at a value by the names that its JSON has, for what must hold for fields that are yet to be added: that
// a report shows all of a configuration, and that a comparison overlooks none of it.

import FoundationEssentials

/// A value as its JSON says it.
enum JSONTree: Decodable, Equatable {
  case null
  case truth(Bool)
  case whole(UInt64)
  case number(Double)
  case text(String)
  case list([JSONTree])
  case object([String: JSONTree])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let truth = try? container.decode(Bool.self) {
      self = .truth(truth)
    } else if let whole = try? container.decode(UInt64.self) {
      self = .whole(whole)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else if let text = try? container.decode(String.self) {
      self = .text(text)
    } else if let list = try? container.decode([JSONTree].self) {
      self = .list(list)
    } else {
      self = .object(try container.decode([String: JSONTree].self))
    }
  }

  /// One field, by its path from the root: `file_system.write_cache`.
  struct Leaf: Equatable {
    var path: String
    var value: JSONTree
  }

  /// The fields of a value in the order of their paths. Fields that are nil have none.
  static func leaves(of value: some Encodable) throws -> [Leaf] {
    let text = try encodedJSON(value, [])
    let tree = try JSONDecoder().decode(JSONTree.self, from: Data(text.utf8))
    return tree.leaves(at: "")
  }

  private func leaves(at path: String) -> [Leaf] {
    func below(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }
    return switch self {
    case .null: []
    case .object(let fields):
      fields.sorted { $0.key < $1.key }.flatMap { $0.value.leaves(at: below($0.key)) }
    case .list(let elements):
      elements.enumerated().flatMap { index, element in element.leaves(at: below("\(index)")) }
    case .truth, .whole, .number, .text: [Leaf(path: path, value: self)]
    }
  }
}

extension JSONTree.Leaf {
  /// The value as a person reads it: the unit is the last word of the name, as everywhere in the JSON.
  var reading: String {
    switch value {
    case .null, .list, .object: "–"
    case .truth(let truth): truth ? "yes" : "no"
    case .whole(let whole) where path.hasSuffix("nanoseconds"): FigureText.duration(nanoseconds: whole)
    case .whole(let whole) where path.hasSuffix("bytes"): FigureText.bytes(Int(clamping: whole))
    // A seed is a name and not an amount.
    case .whole(let whole) where path.hasSuffix("seed"): "\(whole)"
    case .whole(let whole): FigureText.count(whole)
    case .number(let number): FigureText.amount(number)
    case .text(let text): text
    }
  }

  /// The name without its unit: `call_timeout_nanoseconds` is a "call timeout", `shape.open.max_in_flight` the "open loop
  /// max in flight".
  var label: String {
    var words = path.split { $0 == "_" || $0 == "." }.map(String.init)
    if words.count > 2, words[0] == "shape" { words.replaceSubrange(0...1, with: [words[1], "loop"]) }
    if words.count > 1, let last = words.last, last == "nanoseconds" || last == "bytes" { words.removeLast() }
    return words.joined(separator: " ")
  }
}
