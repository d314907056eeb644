// What a node writes down when it is founded or joins, before its log is made: who it is, and with whom it began. The log
// itself holds every later change of membership, but not the members that the cluster was founded with, and the command
// line may name others by the time of the next start.
//
// It holds the births of the other nodes' disks as well, see PeerRegistry.

import Foundation
import LogStorage
import RaftCore

struct MemberFile: Codable, Equatable {
  struct Founder: Codable, Equatable {
    var id: String
    var name: String
    var peerURLs: [String]
  }

  static let name = "member.json"

  var format = 1
  var name: String
  var token: String
  var clusterID: String
  var incarnation: UInt64
  /// Empty for a node that joined: it learns of all members from the log.
  var founders: [Founder]
  var births: [String: String] = [:]

  init(name: String, token: String, identity: Identity, founders: [Member]) {
    self.name = name
    self.token = token
    clusterID = Self.text(identity.clusterID)
    incarnation = identity.incarnation
    self.founders = founders.map { member in
      let address = member.peerAddress ?? MemberAddress(name: "", peerURLs: [])
      return Founder(id: Self.text(member.id.rawValue), name: address.name, peerURLs: address.peerURLs)
    }
  }

  /// Nil when there is none.
  static func read(in directory: String) throws(NodeError) -> MemberFile? {
    let path = directory + "/" + name
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    do {
      let file = try JSONDecoder().decode(MemberFile.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
      guard file.format == 1 else { throw NodeError.storage("format \(file.format), this version reads 1") }
      return file
    } catch {
      throw .storage("\(path) cannot be read: \(error)")
    }
  }

  func write(in directory: String) throws(NodeError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let bytes: Data
    do {
      bytes = try encoder.encode(self)
    } catch {
      throw .storage("\(Self.name) cannot be made: \(error)")
    }
    try DurableFile.write(Array(bytes) + [UInt8(ascii: "\n")], to: directory + "/" + Self.name)
  }

  /// The members that the cluster was founded with, or nobody.
  func membership() throws(NodeError) -> Membership {
    var members: [Member] = []
    for founder in founders {
      guard let id = UInt64(founder.id, radix: 16), !members.contains(where: { $0.id == NodeID(id) }) else {
        throw .storage("\(Self.name) names no members: \(founder.id)")
      }
      let address = MemberAddress(name: founder.name, peerURLs: founder.peerURLs)
      members.append(Member(id: NodeID(id), address: address.encoded()))
    }
    return Membership(voters: members, learners: [])
  }

  /// The births, if they are of this cluster.
  func births(of identity: Identity) -> [NodeID: UInt64] {
    guard clusterID == Self.text(identity.clusterID), incarnation == identity.incarnation else { return [:] }
    var births: [NodeID: UInt64] = [:]
    for (id, birth) in self.births {
      if let id = UInt64(id, radix: 16), let birth = UInt64(birth, radix: 16) { births[NodeID(id)] = birth }
    }
    return births
  }

  mutating func set(births: [NodeID: UInt64]) {
    self.births = [:]
    for (id, birth) in births { self.births[Self.text(id.rawValue)] = Self.text(birth) }
  }

  static func text(_ id: UInt64) -> String { String(id, radix: 16) }
}
