// etcd's flags and environment, turned into what `portcullis core` takes: one or two dashes, `--flag=value` or
// `--flag value`, booleans with a value, and ETCD_NAME for --name. So a command line, a unit file or a container's
// environment that was written for etcd starts a node of ours.
//
// Invariants: what is given as a flag wins over the environment; nothing is left out without a notice; a flag that asks
// for something which would silently not be there, such as a quota, is an error.

package struct EtcdFlags: Sendable {
  /// For the argument parser.
  package private(set) var arguments: [String] = []
  /// What the user should know, a line each.
  package private(set) var notices: [String] = []
  private var seen: Set<String> = []

  /// - Throws: a failure with the code for wrong arguments.
  package init(arguments: [String], environment: [String: String]) throws(CommandFailure) {
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      guard argument.hasPrefix("-"), argument.count > 1, !["-h", "--help", "--version"].contains(argument) else {
        self.arguments.append(argument)
        continue
      }
      let parts = argument.drop { $0 == "-" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      guard let flag = Self.known[name] else { throw Self.unknown(argument, name) }
      var value = parts.count > 1 ? String(parts[1]) : nil
      if value == nil, flag.takesValue {
        guard let next = rest.popFirst() else { throw Self.wrong("--\(name) needs a value") }
        value = next
      }
      seen.insert(name)
      try take(name, flag, value, from: "--\(name)")
    }
    for (variable, value) in environment.sorted(by: { $0.key < $1.key }) where variable.hasPrefix("ETCD_") {
      let name = variable.dropFirst(5).lowercased().replacing("_", with: "-")
      guard !seen.contains(name) else { continue }
      guard let flag = Self.known[name] else {
        notices.append("\(variable) is set and names no flag of etcd's or ours: it is not looked at")
        continue
      }
      try take(name, flag, value, from: variable)
    }
  }

  private mutating func take(
    _ name: String, _ flag: EtcdFlag, _ value: String?, from source: String
  ) throws(CommandFailure) {
    switch flag {
    case .value: arguments.append("--\(name)=\(value ?? "")")
    case .boolean: if try Self.isTrue(value, source) { arguments.append("--\(name)") }
    case .meaningless(let reason, _): notices.append("\(source) has no meaning here: \(reason)")
    case .missing(let reason, let isBoolean):
      // Switched off is what it is anyway.
      if isBoolean, try !Self.isTrue(value, source) { return }
      throw Self.wrong("\(source) is not there yet: \(reason)")
    }
  }

  private static func isTrue(_ value: String?, _ source: String) throws(CommandFailure) -> Bool {
    switch value?.lowercased() {
    case nil, "true", "t", "1": return true
    case "false", "f", "0": return false
    case .some(let text): throw wrong("\(source) is true or false, not \"\(text)\"")
    }
  }

  // MARK: Errors

  private static func wrong(_ text: String) -> CommandFailure {
    CommandFailure(ExitCode.usage, "\(text)\(text.hasSuffix("?") ? "" : ".") See `portcullis core --help`.")
  }

  private static func unknown(_ argument: String, _ name: String) -> CommandFailure {
    let nearest = known.keys.map { (name: $0, distance: distance(name, $0)) }
      .min { ($0.distance, $0.name) < ($1.distance, $1.name) }
    guard let nearest, nearest.distance <= max(2, name.count / 3) else { return wrong("there is no flag \(argument)") }
    return wrong("there is no flag \(argument); did you mean --\(nearest.name)?")
  }

  /// How many characters must be put in, left out or changed to get from one to the other (Levenshtein).
  private static func distance(_ left: String, _ right: String) -> Int {
    let right = Array(right)
    var row = Array(0...right.count)
    for (index, character) in left.enumerated() {
      var diagonal = row[0]
      row[0] = index + 1
      for column in right.indices {
        let change = diagonal + (character == right[column] ? 0 : 1)
        diagonal = row[column + 1]
        row[column + 1] = min(change, row[column] + 1, diagonal + 1)
      }
    }
    return row[right.count]
  }
}
