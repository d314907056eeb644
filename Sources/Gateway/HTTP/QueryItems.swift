// Reads the query part of a URI, which comes from anybody. Flags are set by their presence; `=false` and `=0` unset them.

/// The query part of a request's URI.
package struct QueryItems: Sendable {
  private let items: [(name: String, value: String)]

  package init(_ query: String?) {
    items = (query ?? "").split(separator: "&").map { item in
      let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return (Self.decode(parts[0]), parts.count > 1 ? Self.decode(parts[1]) : "")
    }
  }

  package func has(_ flag: String) -> Bool {
    items.contains { $0.name == flag && $0.value != "false" && $0.value != "0" }
  }

  package func values(_ name: String) -> [String] { items.filter { $0.name == name }.map(\.value) }

  /// Percent escapes, and `+` for a space as forms write it. What is no escape stays as it is.
  private static func decode(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), rest.count >= 2,
        let escaped = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
      {
        bytes.append(escaped)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte == UInt8(ascii: "+") ? 0x20 : byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
