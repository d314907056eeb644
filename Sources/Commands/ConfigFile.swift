// etcd's configuration file: YAML whose keys are the flags' names, with three blocks that are groups of them.
//
// Invariants: a setting comes out as the text that its flag would have; nothing in the file is passed over, so a key that
// is not known, one that is there twice and a value of another type are errors that name the line.

import Foundation
import Yams

struct ConfigFile {
  struct Setting {
    /// The flag's.
    let name: String
    let value: String
    /// For errors and notices: the key with its place.
    let source: String
  }

  let path: String
  private(set) var settings: [Setting] = []

  /// Reads a file.
  /// - Throws: a failure with the code for wrong arguments, which names file and line.
  init(path: String) throws(CommandFailure) {
    let text: String
    do {
      text = try String(contentsOf: URL(fileURLWithPath: path), encoding: .utf8)
    } catch {
      throw CommandFailure(
        ExitCode.usage, "the configuration file \(path) cannot be read: \(error.localizedDescription)")
    }
    try self.init(text: text, path: path)
  }

  init(text: String, path: String) throws(CommandFailure) {
    self.path = path
    let root: Node?
    do {
      root = try Yams.compose(yaml: text)
    } catch {
      throw CommandFailure(ExitCode.usage, "\(path): \(Self.text(of: error))")
    }
    guard let root, !Self.isNull(root) else { return }
    guard case .mapping(let mapping) = root else {
      throw refusal(root, "a configuration file is a mapping: lines of the form \"name: value\"")
    }
    for (key, value) in mapping { try take(key, value, block: nil) }
  }

  private func refusal(_ node: Node, _ text: String) -> CommandFailure {
    CommandFailure(ExitCode.usage, "\(path), line \(node.mark?.line ?? 1): \(text)")
  }

  static func text(of error: any Error) -> String {
    switch error as? YamlError {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      "line \(mark.line): \(problem)"
    case .duplicatedKeysInMapping(let duplicates, let context):
      "in the mapping from line \(context.mark.line) on: \(duplicates.sorted().joined(separator: ", ")) is there twice"
    default: "\(error)"
    }
  }

  // MARK: Keys

  private mutating func take(_ key: Node, _ value: Node, block: Block?) throws(CommandFailure) {
    guard let name = key.scalar?.string else { throw refusal(key, "a key is a name") }
    if block == nil, let inner = Block.all[name] {
      if Self.isNull(value) { return }
      guard case .mapping(let mapping) = value else { throw refusal(value, "\(name) is a block of settings") }
      for (key, value) in mapping { try take(key, value, block: inner) }
      return
    }
    let known = block.map { Array($0.flags.keys) } ?? Array(EtcdFlags.known.keys) + Array(Block.all.keys)
    guard let flagName = block.map({ $0.flags[name] }) ?? name, let flag = EtcdFlags.known[flagName] else {
      let place = block == nil ? "" : " in this block"
      throw refusal(
        key, Spelling.advice("there is no key \(name)\(place)", for: name, among: known, prefix: ""))
    }
    guard flagName != "config-file" else { throw refusal(key, "a configuration file cannot name another one") }
    // A key without a value is as good as none: etcd's own example is full of them.
    if Self.isNull(value) { return }
    settings.append(
      Setting(
        name: flagName, value: try text(of: value, name, flag.kind(of: flagName)),
        source: "\(path), line \(key.mark?.line ?? 1): \(name)"))
  }

  /// A block and which flag each of its keys is.
  struct Block {
    let flags: [String: String]

    private static let security = [
      "cert-file", "key-file", "client-cert-file", "client-key-file", "client-cert-auth", "trusted-ca-file", "auto-tls",
      "crl-file", "allowed-cn", "allowed-hostname", "skip-client-san-verification",
    ]

    static let all: [String: Block] = [
      "client-transport-security": Block(
        flags: names { key in
          switch key {
          case "crl-file": "client-crl-file"
          case "allowed-hostname": "client-cert-allowed-hostname"
          // Only peers have these.
          case "allowed-cn", "skip-client-san-verification": nil
          default: key
          }
        }),
      "peer-transport-security": Block(
        flags: names { key in
          switch key {
          case "allowed-cn", "allowed-hostname": "peer-cert-\(key)"
          case "skip-client-san-verification": "experimental-peer-skip-client-san-verification"
          default: "peer-\(key)"
          }
        }),
      "socket-options": Block(
        flags: ["reuse-port": "socket-reuse-port", "reuse-address": "socket-reuse-address"]),
    ]

    private static func names(_ flag: (String) -> String?) -> [String: String] {
      var flags: [String: String] = [:]
      for key in security { flags[key] = flag(key) }
      return flags
    }
  }

  // MARK: Values

  private static func isNull(_ node: Node) -> Bool {
    guard let scalar = node.scalar, scalar.style == .plain || scalar.style == .any else { return false }
    return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
  }

  private func text(of value: Node, _ name: String, _ kind: EtcdFlag.Kind) throws(CommandFailure) -> String {
    switch value {
    case .scalar(let scalar): return try text(of: scalar, value, name, kind)
    case .sequence(let items) where kind == .list:
      var texts: [String] = []
      for item in items {
        guard let scalar = item.scalar else { throw refusal(item, "\(name) is a list of texts") }
        texts.append(scalar.string)
      }
      return texts.joined(separator: ",")
    case .sequence: throw refusal(value, "\(name) is \(kind.wording), not a list")
    case .mapping: throw refusal(value, "\(name) is \(kind.wording), not a block")
    case .alias: throw refusal(value, "an alias names no value")
    }
  }

  private func text(
    of scalar: Node.Scalar, _ node: Node, _ name: String, _ kind: EtcdFlag.Kind
  ) throws(CommandFailure) -> String {
    let text = scalar.string
    let isPlain = scalar.style == .plain || scalar.style == .any
    let isTruth = isPlain && ["true", "false", "True", "False", "TRUE", "FALSE"].contains(text)
    let isNumber = isPlain && Int64(text) != nil
    func wrong() -> CommandFailure {
      let quoted = isPlain && (isTruth || isNumber) ? " (in quotes, if that is meant: \"\(text)\")" : ""
      return refusal(node, "\(name) is \(kind.wording), not \(isPlain ? text : "\"\(text)\"")\(quoted)")
    }
    switch kind {
    case .truth:
      guard isTruth else { throw wrong() }
      return text.lowercased()
    case .number:
      guard isNumber else { throw wrong() }
      return text
    case .duration:
      // etcd's own file takes nanoseconds alone.
      guard isNumber || !isTruth else { throw wrong() }
      return isNumber ? "\(text)ns" : text
    case .retention:
      guard !isTruth else { throw wrong() }
      return text
    case .text, .list:
      guard !isTruth, !isNumber else { throw wrong() }
      return text
    }
  }
}
