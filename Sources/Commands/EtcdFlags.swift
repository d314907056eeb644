// etcd's flags, environment and configuration file, turned into what `portcullis core` takes: one or two dashes,
// `--flag=value` or `--flag value`, booleans with a value, and ETCD_NAME for --name. So a command line, a unit file or a
// container's environment that was written for etcd starts a node of ours.
//
// Invariants: what is given as a flag wins over the environment; a configuration file is the only source where there is
// one, as for etcd; nothing is left out without a notice; a flag that asks for something which would silently not be
// there, such as TLS, is an error.

package struct EtcdFlags: Sendable {
  /// For the argument parser.
  package private(set) var arguments: [String] = []
  /// What the user should know, a line each.
  package private(set) var notices: [String] = []

  /// What is no flag, for the parser as well.
  private var rest: [String] = []

  private struct Given {
    let name: String
    let flag: EtcdFlag
    let value: String?
    let source: String
  }

  /// - Throws: a failure with the code for wrong arguments.
  package init(arguments: [String], environment: [String: String]) throws(CommandFailure) {
    var given = try commandLine(arguments)
    let seen = Set(given.map(\.name))
    var unknown: [String] = []
    for (variable, value) in environment.sorted(by: { $0.key < $1.key }) where variable.hasPrefix("ETCD_") {
      let name = variable.dropFirst(5).lowercased().replacing("_", with: "-")
      guard !seen.contains(name) else { continue }
      guard let flag = Self.known[name] else {
        unknown.append("\(variable) is set and names no flag of etcd's or ours: it is not looked at")
        continue
      }
      given.append(Given(name: name, flag: flag, value: value, source: variable))
    }
    if let path = given.first(where: { $0.name == "config-file" })?.value, !path.isEmpty {
      try take(ConfigFile(path: path), besides: given.filter { $0.name != "config-file" })
    } else {
      for item in given where item.name != "config-file" { try take(item) }
    }
    self.arguments += rest
    notices += unknown
  }

  private mutating func commandLine(_ arguments: [String]) throws(CommandFailure) -> [Given] {
    var given: [Given] = []
    var left = arguments[...]
    while let argument = left.popFirst() {
      guard argument.hasPrefix("-"), argument.count > 1, !["-h", "--help", "--version"].contains(argument) else {
        rest.append(argument)
        continue
      }
      let parts = argument.drop { $0 == "-" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      guard let flag = Self.known[name] else {
        throw Self.wrong(
          Spelling.advice("there is no flag \(argument)", for: name, among: Array(Self.known.keys), prefix: "--"))
      }
      var value = parts.count > 1 ? String(parts[1]) : nil
      if value == nil, flag.takesValue {
        guard let next = left.popFirst() else { throw Self.wrong("--\(name) needs a value") }
        value = next
      }
      given.append(Given(name: name, flag: flag, value: value, source: "--\(name)"))
    }
    return given
  }

  /// etcd's rule: with a file no flag and no variable counts.
  private mutating func take(_ file: ConfigFile, besides ignored: [Given]) throws(CommandFailure) {
    for setting in file.settings {
      guard let flag = Self.known[setting.name] else { preconditionFailure("a setting is a known flag's") }
      try take(Given(name: setting.name, flag: flag, value: setting.value, source: setting.source))
    }
    guard !ignored.isEmpty else { return }
    notices.append(
      "the configuration is that of \(file.path) alone; not looked at: \(ignored.map(\.source).joined(separator: ", "))"
    )
  }

  private mutating func take(_ given: Given) throws(CommandFailure) {
    let (name, value, source) = (given.name, given.value, given.source)
    if let choices = Self.choices[name], let value, !value.isEmpty, !choices.contains(value) {
      throw Self.wrong("\(source) is \(choices.joined(separator: " or ")), not \"\(value)\"")
    }
    switch given.flag {
    case .value: arguments.append("--\(name)=\(value ?? "")")
    case .boolean: if try Self.isTrue(value, source) { arguments.append("--\(name)") }
    case .truth: arguments.append("--\(name)=\(try Self.isTrue(value, source))")
    case .meaningless(let reason, let isBoolean):
      if isBoolean, !Self.ignored.split(separator: " ").contains(Substring(name)) { _ = try Self.isTrue(value, source) }
      notices.append("\(source) has no meaning here: \(reason)")
    case .missing(let reason, let isBoolean):
      // Switched off, empty, or said to be as it is anyway.
      if isBoolean, try !Self.isTrue(value, source) { return }
      if !isBoolean, let value, value.isEmpty || Self.harmless[name] == value { return }
      throw Self.wrong("\(source) is not there yet: \(reason)")
    case .refused(let reason, let isBoolean):
      if isBoolean, try !Self.isTrue(value, source) { return }
      if !isBoolean, let value, value.isEmpty || Self.harmless[name] == value { return }
      throw Self.wrong("\(source) is not taken: \(reason)")
    }
  }

  private static func isTrue(_ value: String?, _ source: String) throws(CommandFailure) -> Bool {
    switch value?.lowercased() {
    case nil, "true", "t", "1": return true
    case "false", "f", "0": return false
    case .some(let text): throw wrong("\(source) is true or false, not \"\(text)\"")
    }
  }

  private static func wrong(_ text: String) -> CommandFailure {
    CommandFailure(ExitCode.usage, "\(text)\(text.hasSuffix("?") ? "" : ".") See `portcullis core --help`.")
  }
}
