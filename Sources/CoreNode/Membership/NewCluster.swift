// The last resort when a majority is lost for good: a cluster of one node alone, made of what its log holds.
//
// It is another cluster, with an id of its own, so that no node of the old one can ever talk to it; and its incarnation is
// higher, so that tokens which it signs count for more than any of the old ones, even where revisions that the lost
// majority had acknowledged are given out a second time.

import LogStorage
import Logging
import RaftCore

enum NewCluster {
  static func force(_ configuration: NodeConfiguration, logger: Logger) throws(NodeError) {
    let directory = Origin.logDirectory(configuration)
    do {
      guard let old = try LogStorage.existingIdentity(directory: directory) else {
        throw NodeError.configuration(
          "there is no log in \(configuration.dataDirectory) to make a new cluster of: --force-new-cluster is for the"
            + " node that is left of an old one")
      }
      let file = try MemberFile.read(in: configuration.dataDirectory)
      if let file, file.name != configuration.name {
        throw NodeError.configuration("\(configuration.dataDirectory) belongs to node \(file.name)")
      }
      let member = Member(id: old.nodeID, address: configuration.address.encoded())
      let new = identity(after: old)
      let record = MembershipRecord(membership: Membership(voters: [member], learners: []), context: [])
      let entry = try LogStorage.forceNewCluster(
        directory: directory, identity: new, membershipPayload: record.encoded(), clockMilliseconds: 0)
      try MemberFile(
        name: configuration.name, token: file?.token ?? configuration.clusterToken ?? "", identity: new,
        founders: [member]
      ).write(in: configuration.dataDirectory)
      logger.critical(
        """
        forced a new cluster: \(MemberFile.text(new.clusterID)), incarnation \(new.incarnation), with this node as its \
        only member and everything that its log holds, up to entry \(entry.index.rawValue). What the old cluster \
        \(MemberFile.text(old.clusterID)) acknowledged without this node is lost. Delete the data directories of its \
        other members and add them anew. Take --force-new-cluster away before the next start.
        """)
    } catch let error as NodeError {
      throw error
    } catch {
      throw .storage("no new cluster was made: \(error)")
    }
  }

  private static func identity(after old: Identity) -> Identity {
    let id = Digest.of(["forced", MemberFile.text(old.clusterID), String(UInt64.random(in: 0...UInt64.max))])
    return Identity(clusterID: id, nodeID: old.nodeID, incarnation: old.incarnation + 1)
  }
}
