// Owns what stands for several runs: the one in the middle.

enum Medians {
  /// - Returns: nil where there is none.
  static func median<Value: Comparable>(_ values: [Value]) -> Value? {
    values.isEmpty ? nil : values.sorted()[values.count / 2]
  }

  /// The element whose `key` is in the middle.
  static func middle<Element>(_ elements: [Element], by key: (Element) -> Double) -> Element? {
    elements.isEmpty ? nil : elements.sorted { key($0) < key($1) }[elements.count / 2]
  }
}
