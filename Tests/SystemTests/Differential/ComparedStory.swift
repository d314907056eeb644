// Stories from a seed: what is done next, drawn from everything that a client may ask of etcd, right and wrong.

import Chaos
import Foundation
import Protocol

struct ComparedStory {
  /// What a story is mostly about.
  enum Kind: Int, CaseIterable {
    /// Few keys, so that every key is put, deleted and compared often.
    case fewKeys
    /// Many keys, for ranges with limits.
    case manyKeys
    case watches
    case leases
    /// Requests that are wrong in several ways at once: which refusal comes first?
    case wrong
  }

  let kind: Kind
  var random: HistoryRandom
  /// What the run knows.
  var revision: Int64 = 1
  var compacted: Int64 = 0
  /// Two kinds of alarms, raised and to be disarmed after some steps.
  private(set) var raised: [(Etcdserverpb_AlarmType, stepsLeft: Int)] = []

  init(seed: UInt64) {
    kind = Kind(rawValue: Int(seed % UInt64(Kind.allCases.count))) ?? .fewKeys
    random = HistoryRandom(seed: seed)
  }

  /// What comes next; mostly one step.
  mutating func next() -> [ComparedStep] {
    for index in raised.indices.reversed() {
      raised[index].stepsLeft -= 1
      if raised[index].stepsLeft <= 0 { return [alarm(.deactivate, raised.remove(at: index).0)] }
    }
    switch random.below(100) {
    case ..<share(30, of: .fewKeys, .manyKeys, .wrong): return [.put(putRequest())]
    case ..<50: return [.range(rangeRequest())]
    case ..<58: return [.delete(deleteRequest(isInTransaction: false))]
    case ..<share(75, of: .fewKeys, .manyKeys, .wrong): return [.transaction(transactionRequest())]
    case ..<share(82, of: .leases): return leaseSteps()
    case ..<share(93, of: .watches): return watchSteps()
    case ..<95: return compaction()
    case ..<98: return lineSteps()
    default: return clusterSteps()
    }
  }

  /// A threshold that lies lower where the story is about something else.
  private func share(_ threshold: Int, of kinds: Kind...) -> Int { kinds.contains(kind) ? threshold : threshold - 6 }

  // MARK: Chance

  mutating func below(_ bound: Int) -> Int { random.below(bound) }
  mutating func chance(_ percent: Int) -> Bool { random.below(100) < percent }
  mutating func pick<T>(_ options: [T]) -> T { options[random.below(options.count)] }
  /// Things that are wrong are drawn often only where a story is about them.
  mutating func isWrong() -> Bool { chance(kind == .wrong ? 15 : 2) }

  // MARK: Words

  private static let few = ["a", "a/1", "a/2", "b", "b/1", "c", "c\u{0}", "d", "é", "z"]
  private static let many = (0..<40).map { "k\($0 / 10)/\($0 % 10)" }

  mutating func key() -> Data {
    if isWrong(), chance(50) { return Data() }
    if chance(1) { return pick([Data([0]), Data([0xFF]), Data([0xFF, 0xFF])]) }
    return Data(pick(kind == .manyKeys ? Self.many : Self.few).utf8)
  }

  /// Nothing, a prefix's end, "and everything behind", another key (before or behind), the key's successor, or itself.
  mutating func rangeEnd(for key: Data, from: Bool = true) -> Data {
    switch below(10) {
    case ..<4: return Data()
    case ..<6:
      guard let last = key.last, last < 0xFF else { return Data([0]) }
      return key.dropLast() + [last + 1]
    case 6: return from ? Data([0]) : Data("zz".utf8)
    case 7: return pick([key + [0], key, Data("a".utf8)])
    default: return Data(pick(kind == .manyKeys ? Self.many : Self.few).utf8)
    }
  }

  mutating func value() -> Data {
    switch below(20) {
    case ..<3: return Data()
    case ..<17: return Data(pick(["x", "y", "yy", "z", "\u{0}"]).utf8)
    case ..<19: return Data(repeating: UInt8(ascii: "v"), count: 1000 + below(2000))
    default:
      // Above the limit of a request, and above that of a message.
      guard isWrong() else { return Data("one more".utf8) }
      return Data(repeating: UInt8(ascii: "o"), count: chance(70) ? 90_000 : 700_000)
    }
  }

  /// A lease, mostly none.
  mutating func lease(in percent: Int) -> Int64 {
    guard chance(kind == .leases ? percent * 2 : percent) else { return 0 }
    return isWrong() ? pick([99, -3]) : Int64(1 + below(6))
  }

  /// Around the newest or the compacted revision.
  mutating func someRevision() -> Int64 {
    switch below(10) {
    case ..<6: return max(1, revision - Int64(below(12)))
    case ..<8: return max(1, compacted - 2 + Int64(below(5)))
    case 8: return revision + Int64(1 + below(3))
    default: return isWrong() ? -1 : revision
    }
  }

  // MARK: Steps that are few

  private mutating func compaction() -> [ComparedStep] {
    guard chance(40) else { return [.range(rangeRequest())] }
    let revision =
      switch below(8) {
      case 0: self.revision + Int64(below(3))
      // Never 0: an etcd that has not compacted anything takes that, once (docs/differences-from-etcd.md).
      case 1: max(1, compacted - Int64(below(2)))
      case 2 where isWrong(): -1 as Int64
      default: max(1, self.revision - Int64(below(25)))
      }
    return [.compact(revision, physical: chance(30))]
  }

  private mutating func clusterSteps() -> [ComparedStep] {
    switch below(9) {
    case 0:
      return [.call(RPCPath.Maintenance.status, Etcdserverpb_StatusRequest(), as: Etcdserverpb_StatusResponse.self)]
    case 1:
      var request = Etcdserverpb_MemberListRequest()
      request.linearizable = chance(50)
      return [.call(RPCPath.Cluster.memberList, request, as: Etcdserverpb_MemberListResponse.self)]
    case 2:
      var request = Etcdserverpb_HashKVRequest()
      request.revision = chance(30) ? 0 : someRevision()
      // At the very revision of the compaction later versions of etcd answer, and so do we.
      if request.revision == compacted { request.revision = 0 }
      return [.call(RPCPath.Maintenance.hashKV, request, as: Etcdserverpb_HashKVResponse.self)]
    case 3:
      return [
        .call(
          RPCPath.Maintenance.defragment, Etcdserverpb_DefragmentRequest(), as: Etcdserverpb_DefragmentResponse.self)
      ]
    case 4:
      var request = Etcdserverpb_MoveLeaderRequest()
      request.targetID = 7
      return [.call(RPCPath.Maintenance.moveLeader, request, as: Etcdserverpb_MoveLeaderResponse.self)]
    case 5, 6: return memberSteps()
    default:
      let kind = pick([Etcdserverpb_AlarmType.nospace, .corrupt, .none])
      guard chance(30), kind != .none, raised.isEmpty else { return [alarm(pick([.get, .deactivate]), kind)] }
      raised.append((kind, stepsLeft: 3 + below(6)))
      return [.settle, alarm(.activate, kind)]
    }
  }

  private mutating func alarm(_ action: Etcdserverpb_AlarmRequest.AlarmAction, _ kind: Etcdserverpb_AlarmType)
    -> ComparedStep
  {
    var request = Etcdserverpb_AlarmRequest()
    request.action = action
    request.alarm = kind
    request.memberID = 7
    return .call(RPCPath.Maintenance.alarm, request, as: Etcdserverpb_AlarmResponse.self)
  }

  /// Changes of the cluster that are refused.
  private mutating func memberSteps() -> [ComparedStep] {
    switch below(4) {
    case 0:
      var request = Etcdserverpb_MemberRemoveRequest()
      request.id = 7
      return [.call(RPCPath.Cluster.memberRemove, request, as: Etcdserverpb_MemberRemoveResponse.self)]
    case 1:
      var request = Etcdserverpb_MemberUpdateRequest()
      request.id = 7
      request.peerUrls = pick([[], ["http://127.0.0.1:9"], ["nonsense"]])
      return [.call(RPCPath.Cluster.memberUpdate, request, as: Etcdserverpb_MemberUpdateResponse.self)]
    case 2:
      var request = Etcdserverpb_MemberPromoteRequest()
      request.id = 7
      return [.call(RPCPath.Cluster.memberPromote, request, as: Etcdserverpb_MemberPromoteResponse.self)]
    default:
      var request = Etcdserverpb_MemberAddRequest()
      request.peerUrls = pick([["nonsense"], ["ftp://127.0.0.1:9"], ["http://127.0.0.1"], [""], []])
      return [.call(RPCPath.Cluster.memberAdd, request, as: Etcdserverpb_MemberAddResponse.self)]
    }
  }
}

extension HistoryRandom {
  mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
}
