// Owns in what two runs differ, by the names that their JSON has.
//
// It must never overlook a field: every one of a configuration counts unless it is known not to, so that a field which
// is added one day makes runs incomparable before it makes a comparison wrong.

import Measurement

/// The fields in which two runs differ.
struct RunDifferences {
  struct Field {
    var path: String
    var first: String
    var second: String
  }

  var fields: [Field]

  var isEmpty: Bool { fields.isEmpty }

  /// "value_size_bytes: 256 B against 512 B; …".
  var text: String {
    fields.map { "\($0.path): \($0.first) against \($0.second)" }.joined(separator: "; ")
  }

  /// Fields that another run of the same load may have otherwise: the seed draws other keys and arrivals, the prefix
  /// only names them.
  private static let free: Set<String> = ["seed", "key_prefix"]

  /// Fields that change how long a run looks at its target, and not what it does to it.
  private static let ofLength: Set<String> = ["duration_nanoseconds", "total_operations", "call_timeout_nanoseconds"]

  /// What differs from one minute to the next on one machine.
  private static let ofTheMoment: Set<String> = ["load_average", "working_directory"]

  /// Differences that make a comparison meaningless.
  static func inLoad(_ first: BenchResult, _ second: BenchResult) throws(ComparisonError) -> RunDifferences {
    var fields: [Field] = []
    func compare(_ path: String, _ one: String, _ two: String) {
      if one != two { fields.append(Field(path: path, first: one, second: two)) }
    }
    compare("schema", first.schema, second.schema)
    compare("scenario", first.scenario, second.scenario)
    // Of an open and a closed loop no field is the other's, so they are told apart in words.
    let shapes = (first.configuration.shape, second.configuration.shape)
    let isOneShape = shapes.0.isOpen == shapes.1.isOpen
    if !isOneShape { compare("shape", LoadText.shape(shapes.0), LoadText.shape(shapes.1)) }
    let rest = try RunDifferences(between: first.configuration, and: second.configuration) { path in
      !free.contains(path) && !ofLength.contains(path) && (isOneShape || !path.hasPrefix("shape."))
    }
    return RunDifferences(fields: fields + rest.fields)
  }

  static func inLength(_ first: BenchResult, _ second: BenchResult) throws(ComparisonError) -> RunDifferences {
    try RunDifferences(between: first.configuration, and: second.configuration) { ofLength.contains($0) }
  }

  static func inMachine(_ first: BenchResult, _ second: BenchResult) throws(ComparisonError) -> RunDifferences {
    try RunDifferences(between: first.environment, and: second.environment) { !ofTheMoment.contains($0) }
  }

  private init(fields: [Field]) {
    self.fields = fields
  }

  private init(
    between first: some Encodable, and second: some Encodable, where isCounted: (String) -> Bool
  ) throws(ComparisonError) {
    let one = try Self.leaves(of: first)
    let two = try Self.leaves(of: second)
    let paths = Set(one.keys).union(two.keys).filter(isCounted).sorted()
    fields = paths.filter { one[$0] != two[$0] }.map { path in
      Field(path: path, first: one[path]?.reading ?? "none", second: two[path]?.reading ?? "none")
    }
  }

  private static func leaves(of value: some Encodable) throws(ComparisonError) -> [String: JSONTree.Leaf] {
    do {
      return Dictionary(uniqueKeysWithValues: try JSONTree.leaves(of: value).map { ($0.path, $0) })
    } catch {
      throw ComparisonError("the fields of a result cannot be looked at: \(error)")
    }
  }
}
