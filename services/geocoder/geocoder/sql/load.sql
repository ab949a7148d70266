-- What python -m geocoder.load runs. {run} tells the indexes of this run from those in use; the loader makes it.

-- name: create_tables
-- New tables beside those in use, so that readers never see half a gazetteer.
DROP TABLE IF EXISTS geocoder.places_next, geocoder.names_next, geocoder.localized_names_next, geocoder.borders_next;
CREATE TABLE geocoder.places_next (LIKE geocoder.places INCLUDING GENERATED INCLUDING COMMENTS);
CREATE TABLE geocoder.names_next (LIKE geocoder.names INCLUDING COMMENTS);
CREATE TABLE geocoder.localized_names_next (LIKE geocoder.localized_names INCLUDING COMMENTS);
CREATE TABLE geocoder.borders_next (LIKE geocoder.borders INCLUDING COMMENTS);

-- name: insert_borders
-- Cuts countries into pieces of at most 64 vertices, so that few are read and held against a point.
INSERT INTO geocoder.borders_next (country_code, is_land, area)
SELECT p.country_code, p.is_land, public.ST_Subdivide(public.ST_GeomFromWKB(p.area, 4326), 64)
FROM pieces AS p;

-- name: index_places_id
-- Joins from names.
CREATE UNIQUE INDEX places_id_{run} ON geocoder.places_next (id);

-- name: index_places_place_id
-- GetPlace.
CREATE UNIQUE INDEX places_place_id_{run} ON geocoder.places_next (place_id);

-- name: index_places_locality
-- The nearest localities, at the poles and the antimeridian too.
CREATE INDEX places_locality_{run} ON geocoder.places_next USING gist (location) WHERE layer = 4;

-- name: index_places_city
-- The nearest cities, which reach further than their neighbours.
CREATE INDEX places_city_{run} ON geocoder.places_next USING gist (location)
WHERE layer = 4 AND population >= 100000;

-- name: index_places_metropolis
-- The nearest large cities, whose own parts may be cities of that size.
CREATE INDEX places_metropolis_{run} ON geocoder.places_next USING gist (location)
WHERE layer = 4 AND population >= 500000;

-- name: index_places_postcode
-- The nearest postcodes.
CREATE INDEX places_postcode_{run} ON geocoder.places_next USING gist (location) WHERE layer = 8;

-- name: index_places_division
-- Countries and regions.
CREATE INDEX places_division_{run} ON geocoder.places_next (id) WHERE layer IN (1, 2);

-- name: index_names_key
-- Whole names and longer prefixes. The table is in the order of its keys, so that neighbours lie on one page.
CREATE INDEX names_key_{run} ON geocoder.names_next (key, place);

-- name: index_names_main_prefix_1
-- Main names by their first letter, those of the most important places first.
CREATE INDEX names_main_prefix_1_{run} ON geocoder.names_next (left(key, 1), place) WHERE kind = 1;

-- name: index_names_other_prefix_1
-- Other names by their first letter.
CREATE INDEX names_other_prefix_1_{run} ON geocoder.names_next (left(key, 1), place, kind)
WHERE kind > 1 AND kind < 9;

-- name: index_names_main_prefix_2
-- Main names by their first two letters, those of the most important places first.
CREATE INDEX names_main_prefix_2_{run} ON geocoder.names_next (left(key, 2), place) WHERE kind = 1;

-- name: index_names_other_prefix_2
-- Other names by their first two letters.
CREATE INDEX names_other_prefix_2_{run} ON geocoder.names_next (left(key, 2), place, kind)
WHERE kind > 1 AND kind < 9;

-- name: index_names_main_prefix_3
-- Main names by their first three letters, those of the most important places first.
CREATE INDEX names_main_prefix_3_{run} ON geocoder.names_next (left(key, 3), place) WHERE kind = 1;

-- name: index_names_other_prefix_3
-- Other names by their first three letters.
CREATE INDEX names_other_prefix_3_{run} ON geocoder.names_next (left(key, 3), place, kind)
WHERE kind > 1 AND kind < 9;

-- name: index_names_trigrams
-- Names that are spelled alike.
CREATE INDEX names_trigrams_{run} ON geocoder.names_next USING gin (key public.gin_trgm_ops) WITH (fastupdate = off)
WHERE kind < 9;

-- name: index_names_division
-- All that countries and regions are called.
CREATE INDEX names_division_{run} ON geocoder.names_next (key, place) WHERE layer IN (1, 2);

-- name: index_localized_names_place
-- The name of a place in a language, and all that a language has for divisions.
CREATE UNIQUE INDEX localized_names_{run} ON geocoder.localized_names_next (place, language) INCLUDE (name);

-- name: index_borders_area
-- The piece that holds a point.
CREATE INDEX borders_{run} ON geocoder.borders_next USING gist (area);

-- name: analyze
-- For the planner, and so that index-only scans need not look at the tables.
VACUUM (ANALYZE) geocoder.places_next, geocoder.names_next, geocoder.localized_names_next, geocoder.borders_next;

-- name: publish
-- Puts the new tables in the place of the old ones, in one transaction.
DROP TABLE geocoder.places, geocoder.names, geocoder.localized_names, geocoder.borders;
ALTER TABLE geocoder.places_next RENAME TO places;
ALTER TABLE geocoder.names_next RENAME TO names;
ALTER TABLE geocoder.localized_names_next RENAME TO localized_names;
ALTER TABLE geocoder.borders_next RENAME TO borders;
