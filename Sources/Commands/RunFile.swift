// A whole run of `bench` in a file: YAML whose keys are the flags' names, and `scenario` beside them.
//
// Invariants: a setting becomes the flag that it is named after, so that a file can say what a command line can and nothing
// else; the command line wins over the file, and the file over a preset; no key is passed over.

import Foundation
import Yams

/// A scenario of `bench`, as its own command describes it.
package struct RunScenario: Sendable {
  package let name: String
  /// The flags that take a value, without their dashes.
  package let options: [String]
  /// Those that do not.
  package let switches: [String]

  package init(name: String, options: [String], switches: [String]) {
    self.name = name
    self.options = options
    self.switches = switches
  }

  fileprivate var keys: [String] { options + switches }
}

package enum RunArguments {
  /// What stands for more than it says, and is gone from the arguments afterwards.
  private static let sources = ["--preset", "--config"]
  /// Of each of these, one alone can be: what the command line says about one, takes the others out of a file.
  private static let choices: [Set<String>] = [
    ["rate", "clients"], ["start", "endpoints"], ["find-limit", "repeat"],
  ]

  /// The arguments behind `bench`, with the settings of a file or preset in front of those that were given.
  /// - Parameter scenarios: asked for only if there are settings.
  package static func expanded(
    _ arguments: [String], scenarios: () throws -> [RunScenario]
  ) throws -> [String] {
    guard arguments.first != "presets", arguments.contains(where: isSource) else { return arguments }
    var (rest, layers) = try taken(from: arguments)
    let scenarios = try scenarios()
    let isNamed = rest.first.map { !$0.hasPrefix("-") } ?? false
    let asked = layers.compactMap(\.scenario).last
    guard let name = isNamed ? rest.removeFirst() : asked?.value else {
      throw CommandFailure(
        ExitCode.usage,
        "no scenario is named: write \"scenario: put\" into the file, or portcullis bench put --config FILE")
    }
    guard let scenario = scenarios.first(where: { $0.name == name }) else {
      let problem = "\(isNamed ? "" : asked.map { "\($0.place): " } ?? "")there is no scenario \(name)"
      throw CommandFailure(
        ExitCode.usage, Spelling.advice(problem, for: name, among: scenarios.map(\.name), prefix: ""))
    }
    var settings: [String: RunFile.Setting] = [:]
    /// Takes out what a later layer decides in another way. Within one layer two of a choice are an error, as they are on a
    /// command line.
    func overrule(_ keys: some Sequence<String>) {
      for key in keys {
        settings[key] = nil
        for choice in choices where choice.contains(key) { for other in choice { settings[other] = nil } }
      }
    }
    for layer in layers {
      for setting in layer.settings { try check(setting, of: scenario, among: scenarios) }
      overrule(layer.settings.filter { !$0.isOff }.map(\.key))
      for setting in layer.settings { settings[setting.key] = setting }
    }
    overrule(given(rest, scenario))
    return try [name] + settings.values.sorted { $0.key < $1.key }.compactMap { try $0.argument(of: scenario) } + rest
  }

  private static func isSource(_ argument: String) -> Bool {
    sources.contains { argument == $0 || argument.hasPrefix("\($0)=") }
  }

  /// The arguments without those that name a preset or a file, and what these hold: presets first.
  private static func taken(from arguments: [String]) throws -> ([String], [RunFile]) {
    var rest: [String] = []
    var named: [String: String] = [:]
    var index = arguments.startIndex
    while index < arguments.endIndex {
      let argument = arguments[index]
      index += 1
      guard isSource(argument) else {
        rest.append(argument)
        continue
      }
      let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2 || index < arguments.endIndex else {
        throw CommandFailure(ExitCode.usage, "\(argument) needs a value behind it")
      }
      guard named.updateValue(parts.count == 2 ? parts[1] : arguments[index], forKey: parts[0]) == nil else {
        throw CommandFailure(ExitCode.usage, "\(parts[0]) is there twice, and can be once")
      }
      if parts.count == 1 { index += 1 }
    }
    var layers: [RunFile] = []
    if let name = named["--preset"] {
      layers.append(try RunFile(text: BenchPreset.named(name).text, place: "preset \(name)"))
    }
    if let path = named["--config"] { layers.append(try RunFile(path: path)) }
    return (rest, layers)
  }

  private static func check(
    _ setting: RunFile.Setting, of scenario: RunScenario, among scenarios: [RunScenario]
  ) throws(CommandFailure) {
    guard !scenario.keys.contains(setting.key) else { return }
    let others = scenarios.filter { $0.keys.contains(setting.key) }.map(\.name)
    guard others.isEmpty else {
      throw CommandFailure(
        ExitCode.usage,
        "\(setting.place): \(setting.key) is a setting of \(others.joined(separator: ", ")), and not of \(scenario.name)"
      )
    }
    throw CommandFailure(
      ExitCode.usage,
      Spelling.advice(
        "\(setting.place): there is no key \(setting.key)", for: setting.key, among: scenario.keys + ["scenario"],
        prefix: ""))
  }

  /// The keys that the command line says something about.
  private static func given(_ arguments: [String], _ scenario: RunScenario) -> [String] {
    arguments.compactMap { argument in
      guard argument.hasPrefix("--") else { return nil }
      let name = argument.dropFirst(2).prefix { $0 != "=" }
      if scenario.keys.contains(String(name)) { return String(name) }
      return name.hasPrefix("no-") ? String(name.dropFirst(3)) : nil
    }
  }
}

/// The settings of one file.
struct RunFile {
  struct Setting {
    enum Value {
      case text(String)
      /// `a: 1` and the like, which only weights are.
      case pairs(String)
    }

    let key: String
    let value: Value
    /// Where it stands, for errors.
    let place: String

    /// Whether it says no more than that a switch is off.
    var isOff: Bool {
      if case .text("false") = value { return true }
      return false
    }

    /// The flag that it stands for. Nil for a switch that is off, as it is by itself.
    func argument(of scenario: RunScenario) throws(CommandFailure) -> String? {
      switch value {
      case .pairs(let text):
        guard key == "weights" else {
          throw CommandFailure(ExitCode.usage, "\(place): \(key) is one value, and no map")
        }
        return "--\(key)=\(text)"
      case .text(let text):
        guard scenario.switches.contains(key) else { return "--\(key)=\(text)" }
        guard let isOn = Bool(text) else {
          throw CommandFailure(ExitCode.usage, "\(place): \(key) is true or false, not \"\(text)\"")
        }
        return isOn ? "--\(key)" : nil
      }
    }
  }

  private let place: String
  private(set) var settings: [Setting] = []
  private(set) var scenario: (value: String, place: String)?

  init(path: String) throws(CommandFailure) {
    let text: String
    do {
      text = try String(contentsOf: URL(fileURLWithPath: path), encoding: .utf8)
    } catch {
      throw CommandFailure(ExitCode.usage, "the file \(path) cannot be read: \(error.localizedDescription)")
    }
    try self.init(text: text, place: path)
  }

  init(text: String, place: String) throws(CommandFailure) {
    self.place = place
    let root: Node?
    do {
      root = try Yams.compose(yaml: text)
    } catch {
      throw CommandFailure(ExitCode.usage, "\(place): \(ConfigFile.text(of: error))")
    }
    guard let root, !Self.isEmpty(root) else { return }
    guard case .mapping(let mapping) = root else {
      throw refusal(root, "a run's file is a mapping: lines of the form \"name: value\", such as \"rate: 5000\"")
    }
    for (key, value) in mapping {
      guard let name = key.scalar?.string else { throw refusal(key, "a key is a name") }
      // A key without a value is as good as none.
      if Self.isEmpty(value) { continue }
      let place = "\(place), line \(key.mark?.line ?? 1)"
      if name == "scenario" {
        guard let text = value.scalar?.string else { throw refusal(value, "scenario is one name, such as put") }
        scenario = (text, place)
      } else {
        settings.append(Setting(key: name, value: try self.value(of: value, name), place: place))
      }
    }
  }

  private func value(of node: Node, _ name: String) throws(CommandFailure) -> Setting.Value {
    func text(_ node: Node) throws(CommandFailure) -> String {
      guard let scalar = node.scalar else { throw refusal(node, "\(name) is made of single values") }
      return scalar.string
    }
    switch node {
    case .sequence(let items):
      var texts: [String] = []
      for item in items { texts.append(try text(item)) }
      return .text(texts.joined(separator: ","))
    case .mapping(let pairs):
      var texts: [String] = []
      for (key, value) in pairs { texts.append("\(try text(key))=\(try text(value))") }
      return .pairs(texts.joined(separator: ","))
    default: return .text(try text(node))
    }
  }

  private static func isEmpty(_ node: Node) -> Bool {
    guard let scalar = node.scalar, scalar.style == .plain || scalar.style == .any else { return false }
    return ["", "~", "null"].contains(scalar.string)
  }

  private func refusal(_ node: Node, _ text: String) -> CommandFailure {
    CommandFailure(ExitCode.usage, "\(place), line \(node.mark?.line ?? 1): \(text)")
  }
}
