// A state as the buckets of etcd's store. What etcd has no bucket for (grants, clients, the nodes' keys) is not in it.

package import CoordinationCore
import Protocol
import RaftCore

package enum EtcdBackup {
  /// - Parameter index: of the last entry that the state shows.
  package static func file(of state: Coordination, index: UInt64, term: UInt64) -> BoltFile {
    BoltFile([
      // A member's own alarm follows from its store's size, and so it will where the file is restored.
      BoltBucket(
        "alarm",
        state.alarms.filter { $0.kind != .quota }.map { (bytes(of: $0), []) }.sorted { Key($0.key) < Key($1.key) }),
      BoltBucket("auth", EtcdAuthBackup.settings(of: state.auth)),
      BoltBucket("authRoles", EtcdAuthBackup.roles(of: state.auth)),
      BoltBucket("authUsers", EtcdAuthBackup.users(of: state.auth)),
      BoltBucket("cluster", [(Array("clusterVersion".utf8), Array(ProductVersion.etcdCluster.utf8))]),
      BoltBucket("key") { keys(of: state.store) },
      BoltBucket("lease", leases(of: state)),
      BoltBucket("members"), BoltBucket("members_removed"),
      BoltBucket("meta", meta(of: state.store, index: index, term: term)),
    ])
  }

  /// Every version under its revision: main, `_`, the change within it, and `t` for a tombstone.
  private static func keys(of store: KeyStore) -> () -> BoltBucket.Item? {
    var cursor = HistoryCursor(store)
    return {
      guard let item = cursor.next() else { return nil }
      let mark: [UInt8] = item.version.isTombstone ? [UInt8(ascii: "t")] : []
      return (revision(item.version.modRevision, item.place) + mark, bytes(of: item.version))
    }
  }

  private static func revision(_ main: Revision, _ place: Int) -> [UInt8] {
    bigEndian(UInt64(main)) + [UInt8(ascii: "_")] + bigEndian(UInt64(place))
  }

  private static func bytes(of version: KeyVersion) -> [UInt8] {
    // Encoding numbers and bytes cannot fail.
    (try? Mvccpb_KeyValue(version).serializedBytes()) ?? []
  }

  private static func bytes(of alarm: Alarm) -> [UInt8] {
    var member = Etcdserverpb_AlarmMember()
    member.memberID = alarm.member
    member.alarm = alarm.kind == .noSpace ? .nospace : .corrupt
    return (try? member.serializedBytes()) ?? []
  }

  /// etcd's own message for it has the id in field 1 and the time to live, in seconds, in field 2.
  private static func leases(of state: Coordination) -> [BoltBucket.Item] {
    let items = state.leases.ids.map { id -> BoltBucket.Item in
      let seconds = max(1, (state.leases[id]?.ttlMilliseconds ?? 0) / 1000)
      return (
        bigEndian(UInt64(bitPattern: id)), [0x08] + varint(UInt64(bitPattern: id)) + [0x10] + varint(UInt64(seconds))
      )
    }
    return items.sorted { Key($0.key) < Key($1.key) }
  }

  private static func meta(of store: KeyStore, index: UInt64, term: UInt64) -> [BoltBucket.Item] {
    var items: [BoltBucket.Item] = [(Array("consistent_index".utf8), bigEndian(index))]
    if store.compactedRevision > 0 {
      items.append((Array("finishedCompactRev".utf8), revision(store.compactedRevision, 0)))
      items.append((Array("scheduledCompactRev".utf8), revision(store.compactedRevision, 0)))
    }
    items.append((Array("term".utf8), bigEndian(term)))
    return items
  }

  static func bigEndian(_ number: UInt64) -> [UInt8] {
    stride(from: UInt64(56), through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> $0) }
  }

  private static func varint(_ number: UInt64) -> [UInt8] {
    var (rest, bytes) = (number, [] as [UInt8])
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }
}
