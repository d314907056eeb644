// The flags that say what a gateway protects and how, for `serve` and `gateway`.

import ArgumentParser
import FencingCore
import Gateway

struct GatewayOptions: ParsableArguments {
  @Option(name: .customLong("database"), help: "A SQLite file to protect, as name=path. May be given several times.")
  var databases: [DatabaseArgument] = []

  @Option(name: .customLong("open"), help: "A database, by name, that takes writes without a token too.")
  var open: [String] = []

  @Option(
    name: .customLong("scope"),
    help: ArgumentHelp(
      "The scope of a database, as name=scope, or of some of its tables, as name=scope:table,table.",
      discussion: "By default a database's scope is its name."))
  var scopes: [ScopeArgument] = []

  @Option(
    name: .customLong("adopt"),
    help: ArgumentHelp(
      "Move a database to another cluster: name=cluster, the cluster's id in 16 hexadecimal digits.",
      discussion: "Only a token of that cluster may take the place of the pinned one; the file records it."))
  var adopted: [AdoptionArgument] = []

  @Option(
    name: .customLong("foreign-keys"), help: "A database, by name, whose foreign keys SQLite is to enforce.")
  var foreignKeys: [String] = []

  @Option(
    name: .customLong("check-core"),
    help: "A database, by name, whose writes wait for the core to confirm their token, and fail without it.")
  var checkCore: [String] = []

  @Option(
    name: .customLong("floors-dir"),
    help: "Where copies of the floors are kept, best on another disk. Default: beside each file.")
  var floorsDirectory: String?

  /// Every flag must name a database that is there: a misspelt one would leave another with less than was meant.
  func check(default name: String? = "demo") throws {
    let known = databases.isEmpty ? [name].compactMap { $0 } : databases.map(\.name)
    let named =
      open.map { ("--open", $0) } + scopes.map { ("--scope", $0.name) } + adopted.map { ("--adopt", $0.name) }
      + foreignKeys.map { ("--foreign-keys", $0) } + checkCore.map { ("--check-core", $0) }
    for (flag, name) in named where !known.contains(name) {
      throw ValidationError(
        "\(flag) names \"\(name)\", and no --database has that name (\(known.joined(separator: ", ")))")
    }
    for (flag, names) in [
      ("--scope", scopes.filter(\.tables.isEmpty).map(\.name)), ("--adopt", adopted.map(\.name)),
    ] {
      if let twice = names.first(where: { name in names.filter { $0 == name }.count > 1 }) {
        throw ValidationError("\(flag) is given twice for \"\(twice)\"")
      }
    }
  }

  func declarations(default fallback: (name: String, path: String)? = nil) throws -> [DatabaseDeclaration] {
    var files = databases.map { (name: $0.name, path: $0.path) }
    if let fallback, files.isEmpty { files = [fallback] }
    return files.map { file in
      let own = scopes.first { $0.name == file.name && $0.tables.isEmpty }
      let parts = scopes.filter { $0.name == file.name && !$0.tables.isEmpty }
      return DatabaseDeclaration(
        name: file.name, path: file.path, scope: own?.scope,
        tableScopes: parts.map { TableScope(scope: $0.scope, tables: $0.tables) }, isOpen: open.contains(file.name),
        enforcesForeignKeys: foreignKeys.contains(file.name),
        adoptedCluster: adopted.first { $0.name == file.name }?.cluster,
        floorCopyPath: floorsDirectory.map { "\($0)/\(file.name).floors" }, asksCore: checkCore.contains(file.name))
    }
  }
}

/// `name=scope` or `name=scope:table,table`.
struct ScopeArgument: ExpressibleByArgument, Sendable {
  let name: String
  let scope: String
  let tables: [String]

  init?(argument: String) {
    let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty else { return nil }
    let halves = parts[1].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let scope = halves.first, !scope.isEmpty else { return nil }
    name = String(parts[0])
    self.scope = String(scope)
    tables = halves.count < 2 ? [] : halves[1].split(separator: ",").map(String.init)
    if halves.count == 2 && tables.isEmpty { return nil }
  }
}

/// `name=cluster`.
struct AdoptionArgument: ExpressibleByArgument, Sendable {
  let name: String
  let cluster: UInt64

  init?(argument: String) {
    let parts = argument.split(separator: "=", maxSplits: 1)
    guard parts.count == 2, let cluster = ClusterText.parse(String(parts[1]).lowercased()) else { return nil }
    name = String(parts[0])
    self.cluster = cluster
  }
}
