// Where a node comes from: a log that it has, a cluster that it founds, or one that it joins. Decided before anything is
// opened for writing.

import Foundation
import LogStorage
import Logging
import NIOCore
import RaftCore
import Wire

struct Origin: Sendable {
  var identity: Identity
  /// The members that the cluster was founded with; nobody in a node that joins one.
  var founders: Membership
  var file: MemberFile

  static func logDirectory(_ configuration: NodeConfiguration) -> String { configuration.logDirectory }

  static func determine(
    _ configuration: NodeConfiguration, group: any EventLoopGroup, connector: TLSConnector?, logger: Logger
  ) async throws -> Origin {
    let existing: Identity?
    do {
      existing = try LogStorage.existingIdentity(directory: logDirectory(configuration))
    } catch {
      throw NodeError.storage("\(error)")
    }
    if let existing { return try returning(configuration, existing) }
    let origin =
      configuration.isClusterNew
      ? try founding(configuration)
      : try await joining(configuration, group: group, connector: connector, logger: logger)
    try origin.file.write(in: configuration.dataDirectory)
    return origin
  }

  // MARK: A log that is there

  /// The command line's members are not looked at: the log knows better. Name and token must be what they were, or this
  /// is the directory of another node.
  private static func returning(
    _ configuration: NodeConfiguration, _ identity: Identity
  ) throws(NodeError) -> Origin {
    guard let file = try MemberFile.read(in: configuration.dataDirectory) else {
      // A log from before this file was written. Its ids must follow from the command line.
      var origin = try founding(configuration)
      origin.identity.incarnation = identity.incarnation
      if origin.identity == identity { try origin.file.write(in: configuration.dataDirectory) }
      return origin
    }
    let directory = configuration.dataDirectory
    guard file.name == configuration.name else {
      throw .configuration(
        "\(directory) belongs to node \(file.name), this node is \(configuration.name): a directory is one node's for ever"
      )
    }
    if let token = configuration.clusterToken, token != file.token {
      throw .configuration(
        "\(directory) belongs to a cluster with the token \(file.token), this node was given \(token)")
    }
    return Origin(identity: identity, founders: try file.membership(), file: file)
  }

  // MARK: None

  private static func founding(_ configuration: NodeConfiguration) throws(NodeError) -> Origin {
    let token = try clusterToken(configuration)
    let map = try ClusterMap(configuration, token: token)
    let identity = Identity(clusterID: map.clusterID, nodeID: map.localID, incarnation: 1)
    let file = MemberFile(name: configuration.name, token: token, identity: identity, founders: map.founders)
    return Origin(identity: identity, founders: Membership(voters: map.founders, learners: []), file: file)
  }

  private static func joining(
    _ configuration: NodeConfiguration, group: any EventLoopGroup, connector: TLSConnector?, logger: Logger
  ) async throws -> Origin {
    let found = try await Joining.inquire(configuration, group: group, connector: connector, logger: logger)
    let identity = Identity(clusterID: found.clusterID, nodeID: found.localID, incarnation: found.incarnation)
    let file = MemberFile(
      name: configuration.name, token: configuration.clusterToken ?? "", identity: identity, founders: [])
    return Origin(identity: identity, founders: .nobody, file: file)
  }

  /// The token that was configured, or the one that a cluster of one drew for itself.
  private static func clusterToken(_ configuration: NodeConfiguration) throws(NodeError) -> String {
    if let token = configuration.clusterToken { return token }
    guard configuration.peers.count == 1 else {
      throw .configuration("a cluster of several nodes needs a token that all of them are given")
    }
    let path = configuration.dataDirectory + "/cluster.token"
    if let kept = try? String(contentsOf: URL(fileURLWithPath: path), encoding: .utf8), !kept.isEmpty { return kept }
    let token = UUID().uuidString
    try DurableFile.write(Array(token.utf8), to: path)
    return token
  }
}
