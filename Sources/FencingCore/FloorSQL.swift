// The SQL in which a floor is written: one text for the gateway and for the extension that guards a file from inside.
//
// Must never differ between the two: what one of them raises, the other compares with.

package enum FloorSQL {
  /// Takes scope, cluster as `ClusterText` writes it, incarnation, number, holder and the time in seconds since 1970.
  package static let raise = """
    INSERT INTO main._fence(scope, cluster, incarnation, number, holder, raised_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT(scope) DO UPDATE SET cluster = excluded.cluster, incarnation = excluded.incarnation,
      number = excluded.number, holder = excluded.holder, raised_at = excluded.raised_at
    """
}
