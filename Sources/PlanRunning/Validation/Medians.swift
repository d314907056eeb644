// Owns what stands for several runs: the one in the middle, or the mean of those around it.

package enum Medians {
  /// - Returns: nil where there is none.
  package static func median<Value: Comparable>(_ values: [Value]) -> Value? {
    values.isEmpty ? nil : values.sorted()[values.count / 2]
  }

  /// The mean without the quarter that is least and the quarter that is greatest, of three or more without one of each at least.
  /// What comes over a machine for one run is not in it, as it is not in the median, and it is less a matter of luck than that.
  /// - Returns: nil where there is none.
  package static func middleMean(_ values: [Double]) -> Double? {
    let left = values.count < 3 ? 0 : max(1, values.count / 4)
    let middle = values.sorted().dropFirst(left).dropLast(left)
    return middle.isEmpty ? nil : middle.reduce(0, +) / Double(middle.count)
  }

  static func middleMean(_ values: [UInt64]) -> UInt64? {
    middleMean(values.map { Double($0) }).map { UInt64($0.rounded()) }
  }
}
